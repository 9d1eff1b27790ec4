"""What every program needs: pictures in and out, preprocessing, whole files, checked options, one way to end.

from utils import preprocess, read_image, sigmoid
batch = preprocess(read_image("face.jpg"), size=(256, 256))[None]  # (1, 3, 256, 256)
run(main)  # how every program ends
"""

from utils.files import atomic_path, identity, refuse_inputs, regular_file, temporary_beside
from utils.images import (
    FACE,
    MEAN,
    NOT_JUDGED,
    STD,
    check_shape,
    find_pictures,
    fit_size,
    picture_files,
    preprocess,
    resize,
    sigmoid,
)
from utils.pictures import (
    ALPHA_SUFFIXES,
    ANIMATED_SUFFIXES,
    IMAGE_SUFFIXES,
    WRITTEN,
    is_animation,
    metadata_of,
    on_black,
    open_picture,
    picture_of,
    read_image,
    read_pixels,
    to_pixels,
    write_image,
    write_images,
)
from utils.program import STRIDE, Parser, UserError, real, run, side, whole
