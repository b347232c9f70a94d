"""Examinations as desks keep them: PNG, JPEG, TIFF, GIF and NIfTI with everything such files say about a person.

Sources: PNG (ISO/IEC 15948) 11.3; CIPA DC-008 (EXIF 2.32) 4.5 and 4.6.6; Adobe XMP part 3; TIFF 6.0; GIF89a;
NIfTI-1 header (nifti1.h).
"""

import gzip
import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from chambit.phantoms.hospital.case import Case
from chambit.phantoms.hospital.headers import Put
from chambit.phantoms.hospital.key import HEX
from chambit.phantoms.hospital.lettering import ink
from chambit.phantoms.hospital.objects import Made
from chambit.phantoms.hospital.people import HOSPITAL, HOSPITAL_LATIN

_GPS, _EXIF = 0x8825, 0x8769


def png(case: Case, grey: NDArray[np.float32]) -> Made:
    """A PNG with plain, compressed and international text, EXIF, and bytes behind its end."""
    puts: dict[str, Put] = {}
    told, name = PngInfo(), case.person.name
    puts["png.text"] = put = Put("tEXt Description", (case.mark("png.text"), name.latin, case.person.mrn))
    told.add_text("Description", f"{name.latin} {case.person.mrn} case {put.values[0]}")
    puts["png.ztxt"] = put = Put("zTXt Comment", (case.mark("png.ztxt"), name.latin))
    told.add_text("Comment", f"exported for {name.latin}, order {put.values[0]}", zip=True)
    puts["png.itxt"] = put = Put("iTXt Title", (case.mark("png.itxt"), name.local, case.person.resident))
    told.add_itxt("Title", f"{name.local} ({case.person.resident}) {put.values[0]}", "ko", "제목", zip=True)
    exif = Image.Exif()
    puts["png.exif"] = put = Put("eXIf Artist", (case.mark("png.exif"), case.physician(0).latin))
    exif[315], exif[306] = f"{case.physician(0).latin} {put.values[0]}", f"{case.when:%Y:%m:%d %H:%M:%S}"
    content = _saved(_eight(grey), "PNG", pnginfo=told, exif=exif.tobytes())
    return _ended(content, case, puts, "behind IEND")


def jpeg(case: Case, grey: NDArray[np.float32]) -> Made:
    """A JPEG with EXIF, a place, a thumbnail with the name in it, XMP, a comment, and bytes behind its end."""
    puts: dict[str, Put] = {}
    name = case.person.name
    exif, gps = _exif(case, puts), _place(case, puts)
    exif.get_ifd(_GPS).update(gps)
    puts["jpeg.xmp"] = put = Put("XMP dc:creator", (case.mark("jpeg.xmp"), name.local))
    xmp = (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator><rdf:Seq>'
        f"<rdf:li>{name.local} {put.values[0]}</rdf:li>"
        '</rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )
    puts["jpeg.comment"] = put = Put("COM", (case.mark("jpeg.comment"), name.local))
    comment = f"{HOSPITAL} {name.local} {put.values[0]}".encode("euc_kr", "replace")
    small, value = _thumbnail(case, grey)
    puts["jpeg.thumbnail"] = Put("EXIF thumbnail", (value,))
    told = _with_thumbnail(exif.tobytes(), small)
    content = _saved(_eight(grey), "JPEG", quality=92, exif=told, xmp=xmp.encode(), comment=comment)
    return _ended(content, case, puts, "behind EOI")


def tiff(case: Case, grey: NDArray[np.float32]) -> Made:
    """A TIFF of 16 bits with description, artist and day."""
    info = TiffImagePlugin.ImageFileDirectory_v2()
    one = Put("ImageDescription", (case.mark("tiff.description"), case.person.name.local, case.person.mrn))
    text = f"{case.person.name.local} {case.person.mrn} {one.values[0]}"
    # bytes, for Pillow would write question marks for Hangul
    info.tagtype[270] = 2
    info[270] = text.encode("utf-8")
    two = Put("Artist, HostComputer", (case.mark("tiff.artist"), case.physician(1).latin))
    info[315], info[316] = f"{case.physician(1).latin} {two.values[0]}", f"GNUH-PC-{case.physician(1).roman[0]}"
    info[306] = f"{case.when:%Y:%m:%d %H:%M:%S}"
    deep = np.rint(grey * 257).clip(0, 65535).astype(np.uint16)
    content = _saved(Image.fromarray(deep), "TIFF", tiffinfo=info)
    return Made(content, {"tiff.description": one, "tiff.artist": two})


def gif(case: Case, grey: NDArray[np.float32]) -> Made:
    """A GIF with a comment."""
    put = Put("comment extension", (case.mark("gif.comment"), case.person.name.latin))
    comment = f"{case.person.name.latin} {put.values[0]}".encode("latin-1", "replace")
    return Made(_saved(_eight(grey), "GIF", comment=comment), {"gif.comment": put})


def nifti(case: Case, grey: NDArray[np.float32]) -> Made:
    """A NIfTI-1 of one slice (x to the left, y down), every second one packed, with a name in header and extension."""
    import nibabel as nib

    volume = np.rint(grey * (4095 / 255)).astype(np.int16).T[:, :, None]
    made = nib.Nifti1Image(volume, np.diag([-0.7, -0.7, 1.0, 1.0]))  # type: ignore[no-untyped-call]
    one = Put("descrip, db_name", (case.mark("nifti.descrip"), case.person.name.latin))
    text = f"{case.person.name.latin} {one.values[0]} {HOSPITAL_LATIN}"
    made.header["descrip"] = text.encode("latin-1", "replace")[:79]
    made.header["db_name"] = case.person.mrn.encode()
    two = Put("extension 6", (case.mark("nifti.extension"), case.person.name.local))
    note = f"{case.person.name.local} {two.values[0]}".encode()
    made.header.extensions.append(nib.nifti1.Nifti1Extension(6, note))
    content = made.to_bytes()
    packed = gzip.compress(content, mtime=0) if case.number % 2 else content
    return Made(packed, {"nifti.descrip": one, "nifti.extension": two})


FORMS: Final[dict[str, Callable[[Case, NDArray[np.float32]], Made]]] = {
    "png": png,
    "jpeg": jpeg,
    "tiff": tiff,
    "nifti": nifti,
    "gif": gif,
}
"""Writers of pictures by the form's name."""


def suffix(form: str, content: bytes) -> str:
    """The ending of a picture's file name, with its point."""
    if form == "nifti":
        return ".nii.gz" if content[:2] == b"\x1f\x8b" else ".nii"
    return {"png": ".png", "jpeg": ".jpg", "tiff": ".tif", "gif": ".gif"}[form]


def plain_jpeg(grey: NDArray[np.float32], quality: int) -> bytes:
    """A JPEG without metadata, as a viewer's export."""
    return _saved(_eight(grey), "JPEG", quality=quality)


def _eight(grey: NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(np.rint(grey).clip(0, 255).astype(np.uint8))


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    held = BytesIO()
    image.save(held, form, **options)
    return held.getvalue()


def _ended(content: bytes, case: Case, puts: dict[str, Put], place: str) -> Made:
    mark = case.mark("picture.tail")
    puts["picture.tail"] = Put(place, (mark, case.person.resident))
    return Made(content + f"\n{case.person.resident} {mark}\n".encode(), puts)


def _exif(case: Case, puts: dict[str, Put]) -> Image.Exif:
    exif = Image.Exif()
    mark, when = case.mark("jpeg.exif"), f"{case.when:%Y:%m:%d %H:%M:%S}"
    exif[271], exif[272], exif[306] = "Hanbit", "HB-20", when
    exif[315] = f"{case.physician(2).latin} {mark}"
    exif.get_ifd(_EXIF).update({36867: when, 36868: when, 42033: mark})
    puts["jpeg.exif"] = Put("EXIF Artist, BodySerialNumber", (mark, case.physician(2).latin))
    return exif


def _place(case: Case, puts: dict[str, Put]) -> dict[int, Any]:
    """Degrees, minutes and hundredths of a second of some place around a point in the Yellow Sea."""
    digits = case.mark("jpeg.gps")
    north, east = (
        # a numerator that ends in 7 shares no factor with 100, so that no writer shortens the fraction
        ((37, 1), (int(digits[:2]) % 60, 1), (int(digits[2:5]) * 10 + 7, 100)),
        ((124, 1), (int(digits[5:7]) % 60, 1), (int(digits[7:]) * 10 + 7, 100)),
    )
    numbers = [number for pair in (*north, *east) for number in pair]
    values = tuple(HEX + struct.pack(f"{order}6I", *numbers[:6]).hex() for order in "<>")
    puts["jpeg.gps"] = Put("EXIF GPSLatitude", values)
    rationals = [tuple(TiffImagePlugin.IFDRational(*pair) for pair in part) for part in (north, east)]
    return {1: "N", 2: rationals[0], 3: "E", 4: rationals[1], 29: f"{case.when:%Y:%m:%d}"}


def _thumbnail(case: Case, grey: NDArray[np.float32]) -> tuple[bytes, str]:
    """A small JPEG with the name in it, and the piece of its bytes by which it is recognised."""
    small = np.asarray(_eight(grey).resize((160, 120)), np.float32).copy()
    letters = ink(case.person.name.latin.upper(), 12)[:, :150]
    part = small[100 : 100 + len(letters), 5 : 5 + letters.shape[1]]
    part[:] = part * (1 - letters) + 230 * letters
    content = _saved(_eight(small), "JPEG", quality=70)
    return content, HEX + content[-66:-2].hex()


def _with_thumbnail(exif: bytes, small: bytes) -> bytes:
    """EXIF with a second directory that holds a JPEG (CIPA DC-008 4.5.8); offsets count from the TIFF header."""
    head, body = exif[:6], exif[6:]
    order = "<" if body[:2] == b"II" else ">"
    first = struct.unpack_from(f"{order}I", body, 4)[0]
    end = first + 2 + 12 * struct.unpack_from(f"{order}H", body, first)[0]
    body += b"\0" * (len(body) % 2)
    at = len(body)
    begin = at + 2 + 3 * 12 + 4
    second = struct.pack(f"{order}H", 3)
    second += struct.pack(f"{order}HHIHH", 259, 3, 1, 6, 0)
    second += struct.pack(f"{order}HHII", 513, 4, 1, begin)
    second += struct.pack(f"{order}HHII", 514, 4, 1, len(small)) + b"\0\0\0\0"
    return head + body[:end] + struct.pack(f"{order}I", at) + body[end + 4 :] + second + small
