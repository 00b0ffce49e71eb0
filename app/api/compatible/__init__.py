"""The drop-in addresses: requests that programs send to another OCR service, answered in that service's shape.

They are off unless OCR_COMPATIBLE names them, are not in the OpenAPI document, and use the same recognition as `/ocr`.
"""
