"""Calls the vendor's `recognize` for each path on standard input, and answers the number of characters.

The benchmarks run it as a process of its own, with the environment of the engine process.
"""

import os
import sys


def main() -> None:
    """Recognise at the priority of the engine process, so that other programs delay both alike."""
    # Threads inherit the priority of the thread that starts them, so it is set before the vendor starts any.
    os.nice(19)
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    from aspose.ocr import (  # noqa: PLC0415
        AsposeOcr,
        DetectAreasMode,
        InputType,
        OcrInput,
        RecognitionSettings,
        Resources,
    )

    Resources.allow_automatic_downloads(False)  # noqa: FBT003 - the vendor takes no keywords
    for line in sys.stdin:
        images = OcrInput(InputType.SINGLE_IMAGE)
        images.add(line.strip())
        settings = RecognitionSettings()
        settings.detect_areas_mode = DetectAreasMode.UNIVERSAL  # what the service uses by default
        found = AsposeOcr().recognize(images, settings)
        print("read", len(found[0].recognition_text), flush=True)


if __name__ == "__main__":
    main()
