"""The AMVUR network: backbone, prior-net, transformer, cameras and texture joined (paper, figure 2)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import render
from amvur_jax.models import cameras
from amvur_jax.models.hrnet import HRNet, HRNetSize
from amvur_jax.models.initial import Draws
from amvur_jax.models.keypoints import DepthKeypointHead, KeypointHead
from amvur_jax.models.layers import linear
from amvur_jax.models.outputs import Estimate, Gaussian, Outputs, Texture
from amvur_jax.models.pose_head import Keypoints, Turns, taken
from amvur_jax.models.prior import PriorNet, hand_pass
from amvur_jax.models.spread import NearHead, SpreadHead, cues_of
from amvur_jax.models.texture import vertex_features
from amvur_jax.models.transformer import TokenBlock
from mano_jax import HandModel
from mano_jax.skeleton import skeleton

Noise = Callable[[tuple[int, ...]], jax.Array]  # of a shape


@dataclasses.dataclass(frozen=True)
class AmvurConfig:
    """What the network is made of; configs/default.py says what each field means."""

    image_size: int = 224
    crop_scale: float = 1.0
    camera: str = "perspective"  # or "weak_perspective"
    published_quirks: bool = False
    fingertips: str = "ho3d"
    backbone: HRNetSize = dataclasses.field(default_factory=HRNetSize)
    pose_components: int = 30
    predict_shape: bool = False
    hidden: tuple[int, ...] = (1024, 256, 64)
    outputs: tuple[int, ...] = (512, 128, 3)
    layers: int = 4
    heads: int = 4
    texture_hidden: int = 216
    texture_layers: int = 4
    texture_heads: int = 12
    dropout: float = 0.1
    dtype: str = "float32"  # of backbone and attention; the rest is in float32
    keypoint_head: bool = False
    pose_head: str = "published"
    head_hidden: int = 512
    pose_hidden: int = 512
    pose_blocks: int = 2
    keypoints: str = "map"
    map_depth: bool = True
    detach: bool = False
    spread_head: bool = False
    spread_cues: bool = False
    spread_near: bool = False
    centred_heads: bool = False
    camera_init: tuple[float, ...] = (0.45, 0.1, 0.45, 0.0)
    weak_camera_init: tuple[float, ...] | None = None
    step_init: float | None = None
    vertices: int = 778
    coarse_vertices: int = 195

    @property
    def regressor_tips(self) -> str:
        """Preset of the fingertips in the joint regressor; the published one is like no other."""
        return "amvur" if self.published_quirks else self.fingertips


def no_noise(shape: tuple[int, ...]) -> jax.Array:
    """Evaluation: the sample is the mean."""
    return jnp.zeros(shape)


def normal_noise(key: jax.Array) -> Noise:
    """A function shape -> standard normal array, a new one at each call of one trace."""
    count = iter(range(10**6))
    return lambda shape: jax.random.normal(jax.random.fold_in(key, next(count)), shape)


def template_tokens(hand: HandModel) -> jax.Array:
    """(216,3) m: 21 joints and 195 coarse vertices of the template hand, its wrist at the origin."""
    fingers = hand.finger_pose(jnp.zeros(1))
    pose = jnp.concatenate([jnp.zeros((1, 3)), fingers])
    posed = hand.with_shape(None).with_pose(pose)
    coarse = cameras.regressed(hand.coarse, posed.vertices)
    points = jnp.concatenate([posed.joints_21("manopth"), coarse])
    return points - posed.joints[:1]


def upsample(kernel: jax.Array, coarse: jax.Array) -> jax.Array:
    """The fine mesh (B,V,3) of a coarse one (B,S,3), by a kernel (S,V); in full float32 on every device."""
    return jnp.einsum("sv,bsc->bvc", kernel, coarse, precision="highest")


class Amvur(nnx.Module):
    """The network; parameters only, the hand model is an argument of the call."""

    def __init__(self, config: AmvurConfig, *, rngs: Draws) -> None:
        self.config = config
        features = config.backbone.features
        self.backbone = HRNet(config.backbone, rngs=rngs)
        if config.keypoint_head:
            self.keypoints: KeypointHead | DepthKeypointHead
            if config.pose_head == "residual":
                self.keypoints = DepthKeypointHead(
                    config.backbone.map_channels, features, rngs=rngs
                )
            else:
                self.keypoints = KeypointHead(config.backbone.width, features, rngs=rngs)
        self.prior = PriorNet(config, rngs=rngs)
        inputs = (3 + features, *config.outputs[:-1])
        for i, (width, hidden, out) in enumerate(zip(inputs, config.hidden, config.outputs)):
            block = TokenBlock(
                width,
                hidden,
                out,
                layers=config.layers,
                heads=config.heads,
                feed_forward=4 * hidden,
                positions=512,
                log_var=i == len(inputs) - 1,
                rngs=rngs,
            )
            setattr(self, f"encoder{i}", block)
        self.upsample_mu = linear(config.coarse_vertices, config.vertices, rngs=rngs)
        self.upsample_log_var = linear(config.coarse_vertices, config.vertices, rngs=rngs)
        self.texture = TokenBlock(
            sum(config.backbone.map_channels),
            config.texture_hidden,
            3,
            layers=config.texture_layers,
            heads=config.texture_heads,
            feed_forward=config.texture_hidden,
            positions=1024,
            log_var=False,
            rngs=rngs,
        )
        # The last, so that the others start as they do without it.
        if config.spread_head:
            self.spread = SpreadHead(features, config.vertices, cues=config.spread_cues, rngs=rngs)
        if config.spread_near:
            self.spread_near = NearHead(sum(config.backbone.map_channels), rngs=rngs)

    def __call__(
        self,
        image: jax.Array,
        hand: HandModel,
        *,
        train: bool | jax.Array = False,
        key: jax.Array | None = None,
        noise: Noise = no_noise,
        token_mask: jax.Array | None = None,
        paint: int | None = None,
        remat: bool = False,
        keypoints: Keypoints | None = None,
        given: jax.Array | None = None,
        skeletons: Keypoints | None = None,
    ) -> Outputs:
        """Reconstruct the hand in a crop.

        Args:
          image: (B,S,S,3) ImageNet-normalised RGB.
          hand: mano_jax.HandModel.
          train: False for running statistics, True for the batch's, (B,) 0 or 1 for those of a part of it.
          key: for dropout; None for none.
          noise: shape -> array, the eps of the samples.
          token_mask: (B,216,1), 1 = keep, or None.
          paint: how many samples, from the first, get a texture and are rendered; None for all.
          keypoints: Keypoints from outside, for the residual pose head, or None for those of the map.
          given: (B,) 0 or 1, the samples whose keypoints are taken from outside; None for all.
          skeletons: more Keypoints, of no picture, that the residual pose head answers too.
          remat: compute the backbone's activations again for the gradient, in place of keeping them.
        Returns:
          Outputs.
        """
        config = self.config
        encoder_key, texture_key = (None, None) if key is None else jax.random.split(key)
        g, maps = self.backbone(image.astype(config.dtype), train, remat)
        heat, joints_2d_map, depth_map, blur = None, None, None, None
        if config.keypoint_head:
            if isinstance(self.keypoints, DepthKeypointHead):
                heat, joints_2d_map, depth_map, blur = self.keypoints(maps, g)
            else:
                heat, joints_2d_map, feature = self.keypoints(maps[0])
                g = g + feature
        if config.detach:  # the map alone teaches the backbone
            g = jax.lax.stop_gradient(g)
        regressor = hand.joint_regressor_21(config.regressor_tips)

        # prior
        heads = self.prior
        scale, n = heads.scale(g)[:, None], config.pose_components
        mean_part, log_var_part = jnp.split(heads.pose(g), 2, -1)
        turns, weak, cues, near = None, None, None, None
        if config.pose_head == "residual":
            on_map = (joints_2d_map, depth_map, blur)
            seen = taken(keypoints, given, on_map, config.map_depth)
            turns = self.lift(g, seen, skeletons, hand)
            if config.spread_cues:
                outside = jnp.full(len(g), 0.0 if keypoints is None else 1.0)
                if keypoints is not None and given is not None:
                    outside = given
                cues = cues_of(seen, turns, blur, outside)
            if config.spread_near:
                near = self.spread_near(maps, seen.xy)
            rotation, coefficients, betas, translation = (x[-1, : len(g)] for x in turns.pose)
            mean_part = jnp.concatenate([coefficients, betas], -1)
            points, pose = hand_pass(hand, rotation, coefficients, betas)
            if config.camera == "perspective":
                jv_mu = translation[:, None] + points
            else:  # the hand on its wrist, and the camera that sees it where the joints are
                wrist = points[:, :1]
                jv_mu = points - wrist
                at = translation + wrist[:, 0]
                weak = jnp.concatenate([2 * turns.camera[: len(g), :1] / at[:, 2:], at[:, :2]], -1)
        else:
            translation, rotation = heads.translation(g), heads.rotation(g)
            shape = mean_part[:, n:] if config.predict_shape else None
            points, pose = hand_pass(hand, rotation, mean_part[:, :n], shape)
            jv_mu = translation[:, None] + jnp.abs(scale) * points
        betas_log_var = log_var_part[:, n:] if config.predict_shape else None
        points, _ = hand_pass(hand, rotation, log_var_part[:, :n], betas_log_var)
        jv_log_var = jnp.log(scale**2) + points
        step_3d = heads.step_3d(jv_log_var.reshape(len(g), -1))

        def with_joints(mu: jax.Array, log_var: jax.Array) -> tuple[Gaussian, Gaussian]:
            joints_mu = cameras.regressed(regressor, mu)
            joints_log_var = cameras.regressed_log_var(regressor, log_var)
            vertices = self.sample(mu, log_var, step_3d, noise)
            return self.sample(joints_mu, joints_log_var, step_3d, noise), vertices

        prior = with_joints(jv_mu[:, 21:], jv_log_var[:, 21:])

        # posterior
        mu, log_var = self.encode(template_tokens(hand), g, token_mask, encoder_key)
        if config.camera == "perspective":
            mu = mu + translation[:, None]
        up_mu = upsample(self.upsample_mu.kernel[...], mu[:, 21:])
        up_mu = up_mu + self.upsample_mu.bias[...][:, None]
        up_log_var = upsample(self.upsample_log_var.kernel[...], log_var[:, 21:])
        up_log_var = up_log_var + self.upsample_log_var.bias[...][:, None]
        posterior = with_joints(up_mu, up_log_var)

        camera, prior_2d, posterior_2d = self.see(g, prior[0], posterior[0], noise, weak)
        outputs = Outputs(
            camera=camera,
            prior=Estimate(*prior, prior_2d),
            posterior=Estimate(*posterior, posterior_2d),
            tsa_poses=pose,
            jv_log_var=jv_log_var,
            betas=mean_part[:, n:],
            pose_coefficients=mean_part[:, :n],
            joints_2d_map=joints_2d_map,
            depth_map=depth_map,
            heat=heat,
            turns=turns,
            spread=self.spread(g, hand, cues, near) if config.spread_head else None,
            texture=None,
        )
        if paint != 0:
            maps, vertices, view = jax.tree.map(
                lambda x: x[:paint], (maps, outputs.prior.vertices.mu, camera)
            )
            texture = self.texture_and_render(maps, vertices, view, hand, texture_key)
            outputs = outputs._replace(texture=texture)
        return outputs

    def lift(
        self, g: jax.Array, seen: Keypoints, skeletons: Keypoints | None, hand: HandModel
    ) -> Turns:
        """The residual pose head's answers for g (B,features) and `seen`, and for `skeletons` behind them."""
        camera = jax.lax.stop_gradient(self.lifting_camera(g))
        has_feature = jnp.ones(len(g))
        if skeletons is not None:
            more = len(skeletons.depth)
            seen = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), seen, skeletons)
            g, has_feature = (
                jnp.concatenate([x, jnp.zeros((more, *x.shape[1:]))]) for x in (g, has_feature)
            )
            usual = jnp.asarray(self.config.camera_init) * 2
            camera = jnp.concatenate([camera, jnp.broadcast_to(usual, (more, 4))])
        bones = skeleton(hand, self.config.fingertips)
        return self.prior.residual(seen, g, has_feature, camera, bones)

    def lifting_camera(self, g: jax.Array) -> jax.Array:
        """The perspective camera (B,4) = fx, cx, fy, cy in crops' sides of the residual pose head."""
        if self.config.camera == "perspective":
            return jnp.abs(self.prior.camera(g)) * 2
        usual = cameras.FOCAL_224 / 224
        return jnp.broadcast_to(jnp.array([usual, 0.5, usual, 0.5]), (len(g), 4))

    @staticmethod
    def sample(mu: jax.Array, log_var: jax.Array, step: jax.Array, noise: Noise) -> Gaussian:
        return Gaussian(cameras.sample_gaussian(mu, log_var, step, noise(mu.shape)), mu, log_var)

    def encode(
        self,
        tokens: jax.Array,
        g: jax.Array,
        token_mask: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """The AMVUR transformer on template tokens (216,3) and g (B,features): mu, log_var (B,216,3)."""
        rate = self.config.dropout
        x, log_var = tokens, None
        shared: jax.Array | None = g
        for i in range(len(self.config.hidden)):
            block_key = None if key is None else jax.random.fold_in(key, i)
            block = getattr(self, f"encoder{i}")
            x, log_var = block(
                x, shared, token_mask, rate=rate, key=block_key, dtype=self.config.dtype
            )
            shared = token_mask = None
        return x, log_var  # type: ignore[return-value]  # the last block has it

    def see(
        self,
        g: jax.Array,
        prior: Gaussian,
        posterior: Gaussian,
        noise: Noise,
        weak: jax.Array | None = None,
    ) -> tuple[Gaussian | jax.Array, Gaussian, Gaussian]:
        """The camera, and the 2D joints of the prior and the posterior joints (Gaussians).

        weak: (B,3) the weak-perspective camera where it is no head's, else None.
        """
        config, heads, quirks = self.config, self.prior, self.config.published_quirks
        size = config.image_size
        camera: Gaussian | jax.Array
        if config.camera == "perspective":
            mu, log_var = heads.camera(g), heads.camera_log_var(g)
            sample = cameras.sample_gaussian(
                mu, log_var, heads.step_camera(log_var), noise(mu.shape)
            )
            camera = Gaussian(jnp.abs(sample), jnp.abs(mu), log_var)
            K_sample = cameras.intrinsics(camera.sample, size)
            # As published the sampled camera projects the means too.
            K = K_sample if quirks else cameras.intrinsics(camera.mu, size)
            if config.pose_head == "residual":  # whose answer was placed by this camera
                K = jax.lax.stop_gradient(K)

            def project_mu(joints: Gaussian) -> jax.Array:
                return cameras.project(joints.mu, K) / size

            def project_log_var(joints: Gaussian) -> jax.Array:
                in_px = cameras.project_log_var(joints.mu, joints.log_var, K, quirks=quirks)
                return in_px / size if quirks else in_px - 2 * jnp.log(size)

            prior_log_var = project_log_var(prior)
        else:
            camera = heads.weak_camera(g) if weak is None else weak

            def project_mu(joints: Gaussian) -> jax.Array:
                return cameras.project_weak(joints.mu, camera)

            def project_log_var(joints: Gaussian) -> jax.Array:
                return cameras.project_weak_log_var(joints.log_var, camera)

            prior_log_var = project_log_var(prior)
            if quirks:  # the projection that is meant for means
                log_var_camera = heads.weak_camera_log_var(g)
                prior_log_var = cameras.project_weak(prior.log_var, log_var_camera)
        step_2d = heads.step_2d(prior_log_var.reshape(len(g), -1))
        prior_2d = self.sample(project_mu(prior), prior_log_var, step_2d, noise)
        posterior_2d = self.sample(
            project_mu(posterior), project_log_var(posterior), step_2d, noise
        )
        return camera, prior_2d, posterior_2d

    def texture_and_render(
        self,
        maps: Sequence[jax.Array],
        vertices: jax.Array,
        camera: Any,  # a Gaussian, or (B,3) with the weak-perspective camera
        hand: HandModel,
        key: jax.Array | None = None,
    ) -> Texture:
        """Regress vertex colours from the maps and render the mesh with those that are visible."""
        config, size = self.config, self.config.image_size
        quirks, light = config.published_quirks, render.PointLight()
        if config.camera == "perspective":
            K = cameras.intrinsics(camera.mu, size)
            positions = cameras.project(vertices, K) / size
            unit = 1.0
            viewed = vertices
        else:
            positions = (1 + cameras.project_weak(vertices, camera)) / 2
            unit = size
            K, shift = cameras.weak_view(vertices, camera, size, quirks=quirks)
            viewed = vertices + shift[:, None]
            light = render.PointLight(position_cam=shift + jnp.array([0.0, 0.0, -2.0]))
        features = vertex_features(maps, positions, unit if quirks else None, quirks=quirks)
        rgb, _ = self.texture(features, rate=config.dropout, key=key, dtype=config.dtype)
        fragments = render.rasterize(viewed, hand.faces, K, (size, size))
        visible = render.visible_vertices(fragments, hand.faces, vertices.shape[-2])
        rgb = rgb * visible[..., None]
        image = render.shade_faces(
            fragments.pix_to_face, viewed, hand.faces, rgb, K, light, background=1.0
        )
        return Texture(rgb, visible, image[..., 0, :], fragments.mask[..., 0])
