"""Every field with its meaning; the values are the published weakly supervised HO-3D v2 run.

The other configs are short deltas over this one. Any field can be set on the command line:
`--config.train.batch_size=8 --config.data.root=DIR`.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from mano_jax.topology import FINGERTIPS


def get_config() -> ConfigDict:
    c = ConfigDict()
    # Of parameters, order and augmentation. A run that goes on from weights made with the "stream" wants
    # another one, else it is shown the same hands again.
    c.seed = 0
    # Start from the parameters of this checkpoint (a run's folder or checkpoints/STEP), file of weights, or
    # "shipped", those in the package; "" for none.
    c.init_from = ""
    # The hand model: MANO_RIGHT.pkl or the folder it is in, one of our .npz, or "" for the embedded one.
    c.hand = ""

    c.data = ConfigDict()
    # An official HO-3D v2, v3 or FreiHAND as downloaded, or what scripts/build_dataset.py made of one; or
    # "stream": made-up hands without end.
    c.data.root = "data/HO3D_v2"
    # Several in one run, in the place of root: (root, weight) each, or (root, weight, labels) with labels
    # "all", "3d" (no mesh) or "2d".
    c.data.mix = ()
    # A folder with NAME.png for each frame NAME of a data set, white where the hand is seen, in the place of
    # the data set's own masks, for config.loss.occlusion="labels".
    c.data.masks = ""
    c.data.workers = 0  # processes that read and crop; 0 for threads of this one, one a core
    c.data.cache = False  # keep decoded frames in memory, up to 2 GB
    # Stop at a frame that cannot be read; else it is named in a warning and nothing is learnt from it.
    c.data.strict = False
    c.data.bad_frames = 100  # more of those in a row stop the run; 0: never
    # Samples of one sequence side by side in a batch, for the losses that compare them (docs/sequences.md).
    c.data.group = 1  # 1: none are
    c.data.group_span = 30  # frames of the film that the others may be away from the first
    # Standard deviation of the crop centre in training, px of a picture of 640 x 480, or as much of another.
    c.data.jitter_px = 5.0

    c.data.augment = ConfigDict()  # of training pictures; the published runs have none of it
    c.data.augment.rotation = 0.0  # turn in the picture, at most so many degrees
    c.data.augment.scale = 0.0  # the crop's side times or by at most 1 + this
    c.data.augment.shift = 0.0  # move of the crop along each axis, at most this share of its side
    c.data.augment.color = 0.0  # share by which brightness, contrast, saturation and balance change
    # Share of the photographs (2D joints alone) with a plain background that get a made-up one.
    c.data.augment.background = 0.0
    # Share of the pictures that get each of low resolution, blur, motion, grain, JPEG.
    c.data.augment.degrade = 0.0
    c.data.augment.occlusion = 0.0  # share of the pictures in which a patch covers part of the hand
    c.data.augment.mirror_left = True  # left hands are mirrored into right ones; else left out

    c.model = ConfigDict()
    c.model.image_size = 224  # side of the crop; the camera's unit is twice it
    c.model.crop_scale = 1.0  # the crop's side, times the published one (about twice the hand's)
    c.model.camera = "perspective"  # or "weak_perspective"
    # Reproduce the published code where it departs from what it means to do (docs/parity.md).
    c.model.published_quirks = False
    # Which vertices are the tips: ho3d, freihand, manopth; "auto" for those of the labels of the (first) data
    # set that is trained on. A run's checkpoints have the answer.
    c.model.fingertips = "auto"
    c.model.pose_components = 30  # pose coefficients that the prior-net predicts, at most 45
    c.model.predict_shape = False  # use the predicted betas (the published model does not)
    c.model.hidden = (1024, 256, 64)  # widths inside the three transformer blocks
    c.model.outputs = (512, 128, 3)  # widths of what they give
    c.model.layers = 4
    c.model.heads = 4
    c.model.texture_hidden = 216
    c.model.texture_layers = 4
    c.model.texture_heads = 12
    c.model.dropout = 0.1
    # Backbone and attention compute in it; parameters, statistics, losses and geometry are in float32.
    c.model.dtype = "float32"  # or "bfloat16"
    # Read 2D joints off the finest map by soft-argmax and feed them back (not in the published model).
    c.model.keypoint_head = False
    # What gives the hand its rotation, pose, shape and place: "published", linear maps of the image feature;
    # or "residual", an MLP on 21 joints in 2.5D and that feature (amvur_jax/models/pose_head.py).
    c.model.pose_head = "published"
    c.model.head_hidden = 512  # width inside the linear heads
    c.model.pose_hidden = 512  # width of the residual pose head
    c.model.pose_blocks = 2  # its residual blocks
    # Where its joints come from: "map", read off the feature map; "given", a detector's landmarks; "either".
    c.model.keypoints = "map"
    # Tell the residual pose head the depths that are read off the map: not where no 3D label teaches them.
    c.model.map_depth = True
    # The map of the joints alone teaches the backbone, nothing that is made of its feature: for the first
    # stage of a training from scratch, which pose losses would keep from finding the joints.
    c.model.detach = False
    # Variances of joints and vertices of their own, trained by loss.nll (the published ones say little).
    c.model.spread_head = False
    # Let it see whose joints the residual pose head got, how blurred they are, and how well it met them.
    c.model.spread_cues = False
    # And let the variance of each joint see what is on the maps where it is, such as a thing before it.
    c.model.spread_near = False
    # Start the rotation, pose and camera heads near zero (the published model: only some of them).
    c.model.centred_heads = False
    c.model.camera_init = (0.45, 0.1, 0.45, 0.0)  # fx, cx, fy, cy in units of twice the crop's side
    c.model.weak_camera_init = (0.0, 0.0, 0.0)  # s, tx, ty
    c.model.step_init = placeholder(float)  # where the step-size heads start; None: at random

    c.model.backbone = ConfigDict()  # HRNet-W64-C
    c.model.backbone.width = 64  # channels of the finest branch; each coarser one has twice as many
    c.model.backbone.modules = (1, 4, 3)  # modules in stages 2, 3, 4
    c.model.backbone.blocks = (4, 4, 4)  # basic blocks a branch in stages 2, 3, 4
    c.model.backbone.stage1_blocks = 4
    c.model.backbone.stage1_planes = 64
    c.model.backbone.head_planes = (32, 64, 128, 256)  # a quarter of the head's channels
    c.model.backbone.features = 2048  # length of the global feature

    c.loss = ConfigDict()
    c.loss.mode = "weak"  # or "supervised"
    c.loss.data_term = "sample"  # or "mu": what the data terms see of each Gaussian
    c.loss.norm = "l2"  # or "l1": of the keypoint terms
    c.loss.tsa_pose = 0.02  # weight of the pose limits
    c.loss.kl = 0.1  # weight of the divergences
    c.loss.kl_vertices_distance = "abs"  # published; "square" is the Gaussian divergence
    c.loss.kl_2d = "prior"  # supervised: against the prior's (mu, log_var); or "unit" variance
    c.loss.align_vertices = False  # supervised: compare vertices relative to the wrist
    c.loss.photometric = 1e-4  # weight of the rendered crop against the image
    c.loss.photometric_from = 0.5  # share of the steps after which it is used
    c.loss.photometric_samples = placeholder(int)  # samples of a batch that are rendered; None: all
    # Which of its pixels count: "off", all (published); "labels", those that show the hand by the data's
    # depth pictures or masks, and without them as "robust": by their own error, so that outliers hardly do.
    c.loss.occlusion = "off"
    # m; with "labels", how unsure the labels of joints and vertices that something hides are, for loss.nll:
    # so much larger is what the spread head learns to say of them.
    c.loss.hidden_sigma = 0.0
    c.loss.keypoint_map = 0.0  # weight of the 2D joints read off the feature map
    c.loss.heat = 0.0  # weight of their heat, that it lies where the joint is
    c.loss.pose = 0.0  # weight of the residual pose head's own terms
    # Weak mode: 3D labels, where there are any, train that head, the map's depth and the spread head.
    c.loss.use_3d = False
    c.loss.coefficients = 0.0  # weight of the mean square of pose coefficients and betas

    # What samples of one sequence should agree in (config.data.group):
    c.loss.same_shape = 0.0  # weight of the variance of their betas
    c.loss.smooth_pose = 0.0  # weight of that of their fingers, less the further apart in time
    c.loss.nll = 0.0  # weight of the spread head's likelihood; it moves nothing but that head

    c.eval = ConfigDict()  # scores during training, on an evaluation split
    # Of this data set; "" for the first of the run's that has the split.
    c.eval.root = ""
    c.eval.every = 0  # steps between them; 0: never
    c.eval.samples = 512  # how many frames, evenly spread over the split; 0: all
    c.eval.batch_size = 32

    c.train = ConfigDict()
    c.train.batch_size = 64  # published: 16 on each of 4 GPUs
    c.train.steps = 41_271  # 40 epochs of 66,034 frames
    c.train.learning_rate = 5e-5
    c.train.optimizer = "adam"  # published; or "muon" for the kernels of backbone and keypoint head
    c.train.schedule = "step"  # a tenth from half of the steps on; or "cosine" to zero
    c.train.warmup_steps = 0
    c.train.clip_norm = 0.0  # gradients are scaled down to this norm; 0: as they are
    c.train.accumulate = 1  # a batch is computed in so many parts, one after the other
    # Posed skeletons a sample, made up in the step, that the residual pose head learns from too.
    c.train.skeletons = 0
    c.train.remat = False  # compute the backbone twice instead of keeping what it computed
    c.train.ema_decay = 0.0  # of the averaged parameters that inference then uses; 0: none
    c.train.freeze_batch_norm = False  # running statistics, gains and biases stay as they start
    c.train.shard_parameters = False  # each device keeps a part of the parameters; else all of them
    c.train.bad_steps = 10  # in a row, whose loss or gradient is not finite, until the run stops
    c.train.checkpoint_every = 1000  # steps; 0: at the end alone
    c.train.keep = 3  # newest checkpoints that stay on disk, beside the best; 0: all
    c.train.best_metric = "pa_mpjpe_mm"  # of the validation scores; the lowest is the best
    c.train.log_every = 20  # steps between the lines in TensorBoard; 0: none
    c.train.picture_every = 500  # steps between the pictures in TensorBoard; 0: none
    return c


# What the fields may hold: the words that one takes, or the lowest and the highest of a number (in a tuple,
# of each number). Those that are not here take any text, or True and False. amvur_jax/configuration.py
# refuses the rest before anything is compiled or written.
_ANY = float("inf")
LIMITS = {
    "seed": (0, 2**32 - 1),
    "data.workers": (0, 1024),
    "data.bad_frames": (0, _ANY),
    "data.group": (1, _ANY),
    "data.group_span": (1, _ANY),
    "data.jitter_px": (0, 1000),
    "data.augment.rotation": (0, 180),
    "data.augment.scale": (0, 1000),
    "data.augment.shift": (0, 0.5),
    "data.augment.color": (0, 1),
    "data.augment.occlusion": (0, 1),
    "data.augment.degrade": (0, 1),
    "data.augment.background": (0, 1),
    "model.image_size": (32, 4096),
    "model.camera": ("perspective", "weak_perspective"),
    "model.crop_scale": (0.1, 10),
    "model.pose_head": ("published", "residual"),
    "model.head_hidden": (1, _ANY),
    "model.pose_hidden": (1, _ANY),
    "model.pose_blocks": (0, _ANY),
    "model.keypoints": ("map", "given", "either"),
    "model.fingertips": ("auto", *FINGERTIPS),
    "model.pose_components": (1, 45),
    "model.hidden": (1, _ANY),
    "model.outputs": (1, _ANY),
    "model.layers": (0, _ANY),
    "model.heads": (1, _ANY),
    "model.texture_hidden": (1, _ANY),
    "model.texture_layers": (0, _ANY),
    "model.texture_heads": (1, _ANY),
    "model.dropout": (0, 0.99),
    "model.dtype": ("float32", "bfloat16"),
    "model.camera_init": (-_ANY, _ANY),
    "model.weak_camera_init": (-_ANY, _ANY),
    "model.step_init": (-_ANY, _ANY),
    "model.backbone.width": (1, _ANY),
    "model.backbone.modules": (0, _ANY),
    "model.backbone.blocks": (0, _ANY),
    "model.backbone.stage1_blocks": (1, _ANY),
    "model.backbone.stage1_planes": (1, _ANY),
    "model.backbone.head_planes": (1, _ANY),
    "model.backbone.features": (1, _ANY),
    "loss.mode": ("weak", "supervised"),
    "loss.data_term": ("sample", "mu"),
    "loss.norm": ("l2", "l1"),
    "loss.tsa_pose": (0, _ANY),
    "loss.kl": (0, _ANY),
    "loss.kl_vertices_distance": ("abs", "square"),
    "loss.kl_2d": ("prior", "unit"),
    "loss.photometric": (0, _ANY),
    "loss.photometric_from": (0, 1),
    "loss.photometric_samples": (0, _ANY),
    "loss.occlusion": ("off", "labels", "robust"),
    "loss.keypoint_map": (0, _ANY),
    "loss.heat": (0, _ANY),
    "loss.pose": (0, _ANY),
    "loss.coefficients": (0, _ANY),
    "loss.same_shape": (0, _ANY),
    "loss.smooth_pose": (0, _ANY),
    "loss.nll": (0, _ANY),
    "loss.hidden_sigma": (0, _ANY),
    "eval.every": (0, _ANY),
    "eval.samples": (0, _ANY),
    "eval.batch_size": (1, _ANY),
    "train.batch_size": (1, _ANY),
    "train.steps": (1, _ANY),
    "train.learning_rate": (0, _ANY),
    "train.optimizer": ("adam", "muon"),
    "train.schedule": ("step", "cosine"),
    "train.warmup_steps": (0, _ANY),
    "train.clip_norm": (0, _ANY),
    "train.accumulate": (1, _ANY),
    "train.skeletons": (0, 1000),
    "train.ema_decay": (0, 0.999999),
    "train.bad_steps": (0, _ANY),
    "train.checkpoint_every": (0, _ANY),
    "train.keep": (0, _ANY),
    "train.log_every": (0, _ANY),
    "train.picture_every": (0, _ANY),
}
# Fields that must agree: one of them, a function of the config that is true where they do, what to do else.
AGREEMENTS = (
    ("model.image_size", lambda c: c.model.image_size % 32 == 0, "give a multiple of 32"),
    ("model.outputs", lambda c: c.model.outputs[-1] == 3, "the last is 3: x, y, z"),
    (
        "model.heads",
        lambda c: not any(width % c.model.heads for width in c.model.hidden),
        "it must divide each of config.model.hidden",
    ),
    (
        "model.texture_heads",
        lambda c: c.model.texture_hidden % c.model.texture_heads == 0,
        "it must divide config.model.texture_hidden",
    ),
    (
        "model.camera",
        lambda c: (c.loss.mode == "weak") == (c.model.camera == "perspective"),
        "config.loss.mode 'weak' needs 'perspective', 'supervised' needs 'weak_perspective'",
    ),
    (
        "model.keypoints",
        lambda c: c.model.pose_head == "residual" or c.model.keypoints == "map",
        "the published pose head takes none: set config.model.pose_head='residual'",
    ),
    (
        "model.pose_head",
        lambda c: (
            c.model.pose_head == "published"
            or c.model.keypoint_head == (c.model.keypoints != "given")
        ),
        "'residual' needs config.model.keypoint_head=True, or config.model.keypoints='given' without it",
    ),
    (
        "model.detach",
        lambda c: not c.model.detach or c.loss.keypoint_map > 0,
        "nothing would teach the backbone: give config.loss.keypoint_map a weight",
    ),
    (
        "model.published_quirks",
        lambda c: not (c.model.published_quirks and c.model.pose_head == "residual"),
        "the published code has no residual pose head",
    ),
    *(
        (
            f"model.{field}",
            lambda c, field=field: (
                not c.model[field] or (c.model.spread_head and c.model.pose_head == "residual")
            ),
            "it needs config.model.spread_head=True and config.model.pose_head='residual'",
        )
        for field in ("spread_cues", "spread_near")
    ),
    (
        "loss.pose",
        lambda c: not c.loss.pose or c.model.pose_head == "residual",
        "it trains the residual pose head: set config.model.pose_head='residual'",
    ),
    (
        "train.skeletons",
        lambda c: not c.train.skeletons or c.loss.pose > 0,
        "they teach through config.loss.pose: give it a weight",
    ),
    (
        "loss.keypoint_map",
        lambda c: not c.loss.keypoint_map or c.model.keypoint_head,
        "it trains the keypoint head: set config.model.keypoint_head=True",
    ),
    (
        "loss.heat",
        lambda c: not c.loss.heat or c.model.keypoint_head,
        "it trains the keypoint head: set config.model.keypoint_head=True",
    ),
    (
        "data.masks",
        lambda c: not c.data.masks or c.loss.occlusion == "labels",
        "nothing else reads them: set config.loss.occlusion='labels'",
    ),
    (
        "loss.hidden_sigma",
        lambda c: not c.loss.hidden_sigma or (c.loss.nll > 0 and c.loss.occlusion == "labels"),
        "it is of labels that train loss.nll, hidden by config.loss.occlusion='labels': set both",
    ),
    (
        "loss.nll",
        lambda c: not c.loss.nll or c.model.spread_head,
        "it trains the spread head: set config.model.spread_head=True",
    ),
    (
        "data.group",
        lambda c: c.train.batch_size % c.data.group == 0,
        "it must divide config.train.batch_size",
    ),
    (
        "data.group",
        lambda c: c.data.group == 1 or c.train.accumulate == 1,
        "the parts of a batch would part the groups: set config.train.accumulate=1",
    ),
    *(
        (
            f"loss.{name}",
            lambda c, name=name: not c.loss[name] or c.data.group > 1,
            "it compares samples of one sequence: set config.data.group to 2 or more",
        )
        for name in ("same_shape", "smooth_pose")
    ),
    (
        "loss.same_shape",
        lambda c: not c.loss.same_shape or c.model.predict_shape or c.model.pose_head == "residual",
        "no betas are predicted: set config.model.predict_shape=True",
    ),
    (
        "train.warmup_steps",
        lambda c: c.train.warmup_steps <= c.train.steps,
        "it is more than config.train.steps",
    ),
)
