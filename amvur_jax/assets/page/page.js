"use strict";
// Shows one picture or video of the run: its overlay, its mesh, which may move, and its numbers. All text goes in as text, never as HTML.

const at = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("nav li button")];
// Viridis (matplotlib, CC0), sRGB.
const STOPS = [
  [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
  [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37],
];
const FIELD = 35; // of view, degrees
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
let current = -1;

/** The colour of a share in [0, 1] of the scale, in linear light. */
function heat(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const i = Math.min(Math.floor(place), STOPS.length - 2);
  const mixed = STOPS[i].map((value, k) => (value + (place - i) * (STOPS[i + 1][k] - value)) / 255);
  return new THREE.Color().setRGB(...mixed, THREE.SRGBColorSpace);
}

/** A view of meshes on a canvas, to turn and to tilt; drawn when something changes. */
class Viewer {
  constructor(canvas, low, high) {
    Object.assign(this, { canvas, low, high, solid: null, sigma: false, asked: 0 });
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(FIELD, 1, 0.001, 100);
    const lamp = new THREE.DirectionalLight(0xffffff, 1.6);
    lamp.position.set(0.4, 0.8, 1);
    this.camera.add(lamp);
    this.scene.add(this.camera, new THREE.HemisphereLight(0xffffff, 0xb0b0b0, 2.3));
    this.controls = new THREE.OrbitControls(this.camera, canvas);
    this.controls.addEventListener("change", () => this.draw());
    new ResizeObserver(() => this.fit()).observe(canvas);
    canvas.addEventListener("keydown", (event) => this.press(event));
  }

  /** Show a GLB, an ArrayBuffer; false where another one was asked for meanwhile. */
  async show(glb) {
    const asked = ++this.asked;
    const loaded = await new THREE.GLTFLoader().parseAsync(glb, "");
    if (asked !== this.asked) return false;
    this.each((mesh) => [mesh.geometry, mesh.material, mesh.skeleton].forEach((part) => part?.dispose()));
    if (this.solid) this.scene.remove(this.solid);
    this.solid = loaded.scene;
    this.scene.add(this.solid);
    const [clip] = loaded.animations;
    this.times = [...new Set(clip?.tracks.flatMap((track) => [...track.times]))].sort((a, b) => a - b);
    this.action = clip && new THREE.AnimationMixer(this.solid).clipAction(clip).play();
    this.each((mesh) => {
      mesh.frustumCulled = false; // its place is that of its joints
      const { color, _sigma: sigma } = mesh.geometry.attributes;
      const values = new Float32Array(3 * sigma.count);
      for (let i = 0; i < sigma.count; i++) {
        heat((sigma.getX(i) - this.low) / (this.high - this.low)).toArray(values, 3 * i);
      }
      mesh.userData = { photo: color, sigma: new THREE.BufferAttribute(values, 3) };
    });
    this.colour(this.sigma);
    this.reset();
    return true;
  }

  /** Pose what moves as at a time, seconds. */
  pose(time) {
    this.action.time = time;
    this.action.getMixer().update(0);
    this.scene.updateMatrixWorld();
  }

  /** The box about all meshes, of a video in all its frames, or 32 of them. */
  box() {
    const box = new THREE.Box3();
    if (!this.action) return this.solid ? box.setFromObject(this.solid) : box;
    const now = this.action.time;
    const step = Math.ceil(this.times.length / 32);
    for (const time of this.times.filter((_, i) => i % step === 0)) {
      this.pose(time);
      this.each((mesh) => {
        mesh.computeBoundingBox();
        // a hand that is not seen has no size
        if (mesh.boundingBox.getSize(new THREE.Vector3()).length() > 1e-4) box.union(mesh.boundingBox);
      });
    }
    this.pose(now);
    return box;
  }

  each(action) {
    if (this.solid) this.solid.traverse((node) => node.isMesh && action(node));
  }

  /** Colour by sigma, or as the photograph. */
  colour(sigma) {
    this.sigma = sigma;
    this.each((mesh) => mesh.geometry.setAttribute("color", mesh.userData[sigma ? "sigma" : "photo"]));
    this.draw();
  }

  /** Look as the photograph's camera does, which is at the origin, but at the middle of the hands. */
  reset() {
    const box = this.box();
    if (box.isEmpty()) return this.draw();
    const middle = box.getCenter(new THREE.Vector3());
    const radius = box.getSize(new THREE.Vector3()).length() / 2;
    this.distance = radius / Math.sin((FIELD * Math.PI) / 360);
    this.controls.target.copy(middle);
    this.controls.minDistance = radius / 2;
    this.controls.maxDistance = 20 * radius;
    this.camera.position.copy(middle).addScaledVector(middle.clone().normalize(), -this.distance);
    this.camera.up.set(0, 1, 0);
    this.controls.update();
    this.fit();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    this.camera.aspect = width / height;
    // the field of view is that of the shorter side
    const half = Math.tan((FIELD * Math.PI) / 360) / Math.min(1, width / height);
    this.camera.fov = (Math.atan(half) * 360) / Math.PI;
    this.camera.updateProjectionMatrix();
    this.draw();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const offset = this.camera.position.clone().sub(this.controls.target);
    if (event.key in KEYS) {
      const [turn, tilt] = KEYS[event.key].map((step) => (step * Math.PI) / 24);
      const flat = Math.hypot(offset.x, offset.z);
      const angle = Math.atan2(offset.x, offset.z) + turn;
      const height = Math.max(-1.5, Math.min(1.5, Math.atan2(offset.y, flat) + tilt));
      const [length, across] = [offset.length(), Math.cos(height)];
      offset.set(across * Math.sin(angle), Math.sin(height), across * Math.cos(angle)).setLength(length);
    } else if (event.key === "+" || event.key === "=") offset.multiplyScalar(1 / 1.15);
    else if (event.key === "-") offset.multiplyScalar(1.15);
    else if (event.key === "0") {
      event.preventDefault();
      return this.reset();
    } else return;
    event.preventDefault();
    this.camera.position.copy(this.controls.target).add(offset);
    this.controls.update();
  }

  draw() {
    this.renderer.render(this.scene, this.camera);
  }
}

/** Plays what moves: a button and a slider over the frames that show a hand. */
class Player {
  constructor() {
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    at("play").addEventListener("click", () => this.play(!this.playing));
    at("scrub").addEventListener("input", () => {
      this.play(false);
      this.to(this.view.times[at("scrub").value]);
    });
  }

  /** Play a viewer's meshes from their first frame on; null, or meshes that don't move: nothing. */
  open(view) {
    this.play(false);
    this.view = view?.action ? view : null;
    at("player").hidden = at("moves").hidden = !this.view;
    if (!this.view) return;
    at("scrub").max = this.view.times.length - 1;
    this.to(this.view.times[0]);
    this.play(!this.still.matches);
  }

  play(on) {
    this.playing = on;
    at("play").textContent = on ? "Pause" : "Play";
    cancelAnimationFrame(this.next);
    if (on) this.next = requestAnimationFrame((now) => this.step(now, now));
  }

  /** Draw the next picture of the screen; a page that was away goes on where it was. */
  step(before, now) {
    const [first, last] = [this.view.times[0], this.view.times.at(-1)];
    const time = this.time + Math.min(now - before, 100) / 1000;
    this.to(time > last ? first : time);
    this.next = requestAnimationFrame((then) => this.step(now, then));
  }

  to(time) {
    const { times } = this.view;
    this.time = time;
    this.view.pose(time);
    this.view.draw();
    const frame = times.findLastIndex((other) => other <= time);
    const said = `${time.toFixed(2)} s`;
    at("scrub").value = frame;
    at("scrub").setAttribute("aria-valuetext", said);
    at("time").textContent = `${said} of ${times.at(-1).toFixed(2)} s`;
  }
}

const player = new Player();

/** The viewer, made when the first mesh is shown; null where the browser has no WebGL. */
const viewer = (() => {
  let made;
  return () => {
    if (made !== undefined) return made;
    const { low, high } = at("solid").dataset;
    try {
      made = new Viewer(at("mesh"), Number(low), Number(high));
    } catch {
      made = null;
      at("mesh").hidden = true;
      at("unseen").hidden = false;
    }
    return made;
  };
})();

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
}

function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** The table of one hand. */
function card(hand) {
  const rows = hand.rows.map(([name, value]) => {
    const row = element("tr");
    const head = element("th", name);
    head.scope = "row";
    row.append(head, element("td", value));
    return row;
  });
  const [article, table] = [element("article"), element("table")];
  table.append(...rows);
  article.append(element("h3", hand.title), table);
  return article;
}

async function show(number) {
  if (number < 0 || number >= buttons.length) return;
  current = number;
  player.open(null);
  buttons.forEach((button, i) => {
    if (i === number) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  buttons[number].scrollIntoView({ block: "nearest", inline: "nearest" });
  const picture = JSON.parse(buttons[number].parentNode.querySelector("script").textContent);
  at("previous").disabled = number === 0;
  at("next").disabled = number === buttons.length - 1;
  at("title").textContent = picture.title;
  at("folder").textContent = picture.folder;
  at("overlay").hidden = !picture.overlay;
  at("overlay").alt = picture.alt;
  at("overlay").src = picture.overlay ? `data:image/jpeg;base64,${picture.overlay}` : "data:,";
  at("nothing").hidden = Boolean(picture.overlay);
  at("nothing").textContent = picture.alt;
  at("numbers").replaceChildren(...picture.hands.map(card));
  at("solid").hidden = !picture.glb;
  at("mesh").setAttribute("aria-label", `The mesh: ${picture.alt}`);
  if (!picture.glb) return;
  at("save").download = picture.file;
  at("save").href = `data:model/gltf-binary;base64,${picture.glb}`;
  const view = viewer();
  if (view && !(await view.show(bytes(picture.glb)))) return;
  player.open(view);
  document.body.dataset.shown = number;
}

buttons.forEach((button, i) => button.addEventListener("click", () => show(i)));
at("previous").addEventListener("click", () => show(current - 1));
at("next").addEventListener("click", () => show(current + 1));
at("reset").addEventListener("click", () => viewer()?.reset());
at("mesh").addEventListener("keydown", (event) => {
  if (event.key !== " " || !player.view) return;
  event.preventDefault();
  player.play(!player.playing);
});
document.querySelector("nav ol")?.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const next = step && buttons[current + step];
  if (!next) return;
  event.preventDefault();
  show(current + step);
  next.focus();
});
for (const radio of document.querySelectorAll("input[name=colours]")) {
  radio.addEventListener("change", () => {
    at("solid").dataset.colours = radio.value;
    viewer()?.colour(radio.value === "sigma");
  });
}
at("bar").style.background = `linear-gradient(to right, ${STOPS.map((c) => `rgb(${c})`)})`;
const first = buttons.findIndex((button) => !button.classList.contains("empty"));
show(Math.max(first, 0));
