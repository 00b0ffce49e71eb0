"""Tests of the judgement of prepared pages."""
