// The live picture: fetches frames one after the other, draws them with their objects' outlines, and reports marks in px of
// the frame that is shown, with its number and stamp. Texts are painted on a canvas or set as text, never as HTML.

const SLOW = 150; // ms for one picture, above which a smaller one is asked for
const FAST = 30; // ms, below which a better one is tried
const PATIENCE = 40; // pictures between two changes
const LEVELS = 4;
const CLICK = 4; // px of the screen that a click may move
const STEP = 4; // px that an arrow key moves the cursor, ten times as much with Shift

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const rgb = ([r, g, b], alpha = 1) => `rgba(${r}, ${g}, ${b}, ${alpha})`;

function pathOf(outline) {
  const path = new Path2D();
  for (const polygon of outline) {
    for (let i = 0; i + 1 < polygon.length; i += 2) path[i ? "lineTo" : "moveTo"](polygon[i], polygon[i + 1]);
    path.closePath();
  }
  return path;
}

export default {
  template: `
    <div class="sam-picture" :style="{ aspectRatio: width + ' / ' + height, '--ratio': width / height }">
      <canvas ref="image" class="sam-canvas" aria-hidden="true"></canvas>
      <canvas ref="marks" class="sam-canvas sam-marks" tabindex="0" role="application"
        :aria-label="'Live picture, ' + tool + ' tool. Arrow keys move a cursor, the space bar marks, N marks negatively.'"
        :style="{ cursor: locked ? 'default' : 'crosshair', touchAction: tool === 'point' ? 'manipulation' : 'none' }"
        @pointerdown="press" @pointermove="move" @pointerup="lift" @pointercancel="cancel" @pointerleave="leave"
        @contextmenu.prevent @keydown="key"></canvas>
      <div class="sam-note" role="status" v-show="note">{{ note }}</div>
      <div class="sam-caption" aria-hidden="true">{{ caption }}</div>
      <div class="sam-frozen" v-show="frozen">Frozen</div>
    </div>`,
  props: {
    url: String, tracker: String, tool: String, negative: Boolean, radius: Number, selected: Number, hidden: Array,
    draft: Object, preview: Array, found: Array, examples: Array, locked: Boolean, opacity: Number,
  },
  data: () => ({ width: 640, height: 480, note: "Waiting for the first picture …", caption: "", frozen: false }),
  mounted() {
    Object.assign(this, {
      gone: false, facts: null, paths: new Map(), level: 0, calm: 0, drag: null, hover: 0, cursor: null, times: [],
      asking: null,
    });
    this.$el.samStatistics = { number: 0, stamp: "0", delays: [], pictures: 0 };
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.$refs.marks);
    // A button that was clicked with the mouse keeps the focus, and with it the keys: give them back to the page.
    this.unfocus = () => setTimeout(() => document.activeElement?.tagName === "BUTTON" && document.activeElement.blur());
    document.addEventListener("pointerup", this.unfocus);
    this.loop();
  },
  unmounted() {
    this.gone = true;
    this.asking?.abort();
    this.observer.disconnect();
    document.removeEventListener("pointerup", this.unfocus);
  },
  watch: {
    tracker() { this.restart(); },
    draft: "draw", preview: "draw", found: "draw", examples: "draw", selected: "draw", hidden: "draw", tool: "draw",
    opacity: "draw",
  },
  methods: {
    // --- Frames ------------------------------------------------------------------------------------------------------
    async loop() {
      while (!this.gone) {
        try {
          await (this.frozen || document.hidden ? sleep(80) : this.next());
        } catch (error) {
          if (error.name !== "AbortError") {
            this.note = "The console does not answer. It is asked again every second.";
            await sleep(1000);
          }
        }
      }
    },
    async next() {
      this.asking = new AbortController();
      const tracker = this.tracker;
      const query = `tracker=${encodeURIComponent(tracker)}&after=${this.facts?.number ?? 0}&level=${this.level}`;
      const response = await fetch(`${window.path_prefix ?? ""}${this.url}?${query}`,
        { cache: "no-store", signal: this.asking.signal });
      if (response.status === 204) { this.note = response.headers.get("x-reason") || "No picture comes."; return; }
      if (!response.ok) { this.note = await response.text(); await sleep(1000); return; }
      const began = performance.now();
      const buffer = await response.arrayBuffer();
      const length = new DataView(buffer).getUint32(0, true);
      const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
      const picture = await createImageBitmap(new Blob([new Uint8Array(buffer, 4 + length)], { type: "image/jpeg" }));
      if (this.frozen || tracker !== this.tracker) { picture.close(); return; } // frozen while it was under way
      this.show(facts, picture);
      this.adapt(performance.now() - began);
    },
    show(facts, picture) {
      this.width = facts.width;
      this.height = facts.height;
      const canvas = this.$refs.image;
      if (canvas.width !== picture.width) canvas.width = picture.width;
      if (canvas.height !== picture.height) canvas.height = picture.height;
      canvas.getContext("2d").drawImage(picture, 0, 0);
      picture.close();
      this.facts = facts;
      this.paths = new Map(facts.objects.map((item) => [item.id, pathOf(item.outline)]));
      this.note = facts.tracked ? "" : "Not tracked: the camera's picture as it comes.";
      this.draw();
      const now = performance.now();
      this.times = [...this.times.filter((when) => now - when < 2000), now];
      const rate = this.times.length / 2;
      this.caption = `${facts.width} × ${facts.height} · ${rate.toFixed(rate < 9.5 ? 1 : 0)} pictures/s`;
      const statistics = this.$el.samStatistics;
      Object.assign(statistics, { number: facts.number, stamp: facts.stamp, pictures: statistics.pictures + 1 });
      requestAnimationFrame(() => {
        statistics.delays.push(Date.now() - Number(BigInt(facts.stamp) / 1000000n));
        if (statistics.delays.length > 2000) statistics.delays.shift();
      });
    },
    adapt(ms) {
      this.calm += 1;
      if (this.calm < PATIENCE && !(ms > 4 * SLOW)) return;
      if (ms > SLOW && this.level < LEVELS - 1) { this.level += 1; this.calm = 0; }
      else if (ms < FAST && this.level > 0) { this.level -= 1; this.calm = 0; }
    },
    restart() {
      this.asking?.abort();
      this.drag = null;
      this.resume();
      this.facts = null;
      this.paths = new Map();
      this.note = "Waiting for the first picture …";
      this.draw();
    },
    freeze(byHand = false) {
      if (this.frozen || !this.facts) return;
      this.frozen = true;
      this.$emit("freeze", { ...this.name(), by_hand: byHand });
    },
    resume() {
      if (this.drag) { this.drag.held = true; return; } // what is pressed names the frame that is shown
      this.frozen = false;
      this.corner = null;
    },
    name() { return { number: this.facts.number, stamp: this.facts.stamp }; },

    // --- Drawing -----------------------------------------------------------------------------------------------------
    draw() {
      const canvas = this.$refs.marks;
      if (!canvas) return;
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
      if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.clearRect(0, 0, width, height);
      const scale = width / this.width;
      this.unit = ratio / scale; // one px of the screen, in px of the frame
      context.setTransform(scale, 0, 0, scale, 0, 0);
      context.lineJoin = "round";
      context.lineCap = "round";
      const hidden = new Set(this.hidden ?? []);
      const objects = (this.facts?.objects ?? []).filter((item) => !hidden.has(item.id));
      for (const item of objects) this.drawObject(context, item);
      for (const item of objects) this.drawLabel(context, item);
      (this.found ?? []).forEach((item) => this.drawFound(context, item));
      for (const item of this.examples ?? []) this.drawBox(context, item.box, item.positive ? "#35c46a" : "#ff5d5d");
      if (this.preview?.length) this.drawOutline(context, pathOf(this.preview), [255, 255, 255], 0.35, 2, [5, 4]);
      this.drawDraft(context);
      this.drawDrag(context);
      if (this.cursor) this.drawCursor(context);
    },
    drawOutline(context, path, colour, alpha, width, dash = []) {
      context.fillStyle = rgb(colour, alpha);
      context.fill(path, "evenodd");
      context.setLineDash(dash.map((part) => part * this.unit));
      context.lineWidth = (width + 2) * this.unit;
      context.strokeStyle = "rgba(0, 0, 0, 0.45)";
      context.stroke(path);
      context.lineWidth = width * this.unit;
      context.strokeStyle = rgb(colour);
      context.stroke(path);
      context.setLineDash([]);
    },
    drawObject(context, item) {
      const chosen = item.id === this.selected;
      const alpha = (this.opacity ?? 0.35) + (item.id === this.hover ? 0.15 : 0);
      if (chosen) this.drawOutline(context, this.paths.get(item.id), [255, 255, 255], 0, 5);
      this.drawOutline(context, this.paths.get(item.id), item.colour, alpha, 2);
    },
    drawLabel(context, item) {
      if (!item.outline.length) return;
      const points = item.outline.flat();
      const xs = points.filter((_, i) => i % 2 === 0);
      const ys = points.filter((_, i) => i % 2 === 1);
      this.drawText(context, `${item.id}  ${item.label || "object"}`, Math.min(...xs), Math.min(...ys), item.colour);
    },
    drawText(context, text, x, y, colour) {
      const size = 13 * this.unit;
      context.font = `600 ${size}px system-ui, sans-serif`;
      const shown = text.length > 40 ? `${text.slice(0, 39)}…` : text;
      const width = context.measureText(shown).width + size;
      const left = Math.max(0, Math.min(x, this.width - width));
      const top = Math.max(0, y - 1.9 * size);
      context.fillStyle = rgb(colour, 0.92);
      context.beginPath();
      context.roundRect(left, top, width, 1.55 * size, 0.4 * size);
      context.fill();
      const bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 120;
      context.fillStyle = bright ? "#101418" : "#ffffff";
      context.textBaseline = "middle";
      context.fillText(shown, left + 0.5 * size, top + 0.8 * size);
    },
    drawFound(context, item) {
      const colour = item.chosen ? [255, 193, 7] : [170, 178, 189];
      this.drawOutline(context, pathOf(item.outline), colour, item.chosen ? 0.3 : 0.1, 2, item.chosen ? [] : [5, 4]);
      const points = item.outline.flat();
      if (points.length) this.drawText(context, item.caption, points[0], points[1], colour);
    },
    drawBox(context, [x1, y1, x2, y2], colour) {
      for (const [width, style] of [[4, "rgba(0, 0, 0, 0.5)"], [2, colour]]) {
        context.lineWidth = width * this.unit;
        context.strokeStyle = style;
        context.strokeRect(Math.min(x1, x2), Math.min(y1, y2), Math.abs(x2 - x1), Math.abs(y2 - y1));
      }
    },
    drawPoint(context, [x, y], positive) {
      context.beginPath();
      context.arc(x, y, 7 * this.unit, 0, 2 * Math.PI);
      context.fillStyle = positive ? "#1fa855" : "#e5484d";
      context.fill();
      context.lineWidth = 2 * this.unit;
      context.strokeStyle = "white";
      context.stroke();
      context.beginPath();
      context.moveTo(x - 3.5 * this.unit, y);
      context.lineTo(x + 3.5 * this.unit, y);
      if (positive) { context.moveTo(x, y - 3.5 * this.unit); context.lineTo(x, y + 3.5 * this.unit); }
      context.stroke();
    },
    drawStroke(context, vertices, radius, erases) {
      context.beginPath();
      for (let i = 0; i + 1 < vertices.length; i += 2) context[i ? "lineTo" : "moveTo"](vertices[i], vertices[i + 1]);
      if (vertices.length === 2) context.lineTo(vertices[0] + 0.01, vertices[1]);
      context.lineWidth = 2 * radius;
      context.strokeStyle = erases ? "rgba(229, 72, 77, 0.45)" : "rgba(255, 255, 255, 0.5)";
      context.stroke();
    },
    drawDraft(context) {
      for (const step of this.draft?.steps ?? []) {
        if (step.kind === "box") this.drawBox(context, step.at, "white");
        if (step.kind === "stroke") this.drawStroke(context, step.at, step.radius, step.erases);
      }
      for (const step of this.draft?.steps ?? []) {
        if (step.kind === "point") this.drawPoint(context, step.at, step.positive);
      }
    },
    drawDrag(context) {
      if (!this.drag?.moved && this.drag?.kind !== "stroke") return;
      const { kind, at } = this.drag;
      if (kind === "box") this.drawBox(context, [at[0], at[1], at[at.length - 2], at[at.length - 1]], "white");
      if (kind === "stroke") this.drawStroke(context, at, this.radius, this.drag.negative);
    },
    drawCursor(context) {
      const [x, y] = this.cursor;
      const reach = 12 * this.unit;
      for (const [width, style] of [[4, "rgba(0, 0, 0, 0.6)"], [2, "#ffd54a"]]) {
        context.beginPath();
        context.moveTo(x - reach, y);
        context.lineTo(x + reach, y);
        context.moveTo(x, y - reach);
        context.lineTo(x, y + reach);
        context.lineWidth = width * this.unit;
        context.strokeStyle = style;
        context.stroke();
      }
    },

    // --- Hands -------------------------------------------------------------------------------------------------------
    at(event) {
      const box = this.$refs.marks.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * this.width;
      const y = ((event.clientY - box.top) / box.height) * this.height;
      const round = (value, most) => Math.round(Math.min(Math.max(value, 0), most - 0.01) * 100) / 100;
      return [round(x, this.width), round(y, this.height)];
    },
    objectAt([x, y]) { // the smallest, as `Frame.object_at`
      const context = this.$refs.image.getContext("2d");
      const hidden = new Set(this.hidden ?? []);
      const hits = (this.facts?.objects ?? []).filter((item) => !hidden.has(item.id) &&
        context.isPointInPath(this.paths.get(item.id), x, y, "evenodd"));
      return hits.sort((one, other) => one.area - other.area)[0]?.id ?? 0;
    },
    kind() { return { point: "point", box: "box", example: "box", brush: "stroke" }[this.tool] ?? "point"; },
    press(event) {
      if (this.locked || !this.facts || event.button === 1) return;
      this.$refs.marks.setPointerCapture(event.pointerId);
      this.cursor = null;
      const negative = this.negative !== (event.button === 2);
      // The frame that was pressed on is the one that is meant, however late the button is lifted.
      this.drag = {
        kind: this.kind(), at: this.at(event), from: [event.clientX, event.clientY], negative, moved: false,
        held: this.drag?.held ?? !this.frozen,
      };
      this.freeze();
      this.draw();
    },
    move(event) {
      if (!this.drag) {
        const hover = event.pointerType === "touch" ? 0 : this.objectAt(this.at(event));
        if (hover !== this.hover) { this.hover = hover; this.draw(); }
        return;
      }
      const [x, y] = this.drag.from;
      this.drag.moved ||= Math.hypot(event.clientX - x, event.clientY - y) > CLICK;
      if (this.drag.kind === "stroke" && this.drag.at.length < 3000) this.drag.at.push(...this.at(event));
      if (this.drag.kind === "box") this.drag.at = [this.drag.at[0], this.drag.at[1], ...this.at(event)];
      this.draw();
    },
    lift(event) {
      const drag = this.drag;
      this.drag = null;
      if (!drag) return;
      const scrolled = drag.kind === "point" && drag.moved && event.pointerType === "touch";
      if (scrolled || (drag.kind === "box" && !drag.moved)) this.drop(drag);
      else this.report(drag.kind, drag.at, drag.negative);
    },
    cancel() {
      const drag = this.drag;
      this.drag = null;
      if (drag) this.drop(drag);
    },
    drop(drag) { // nothing was marked: if only this press held the frame, go on
      if (drag.held) {
        this.resume();
        this.$emit("release");
      }
      this.draw();
    },
    leave() { this.hover = 0; this.draw(); },
    report(kind, at, negative) {
      this.freeze();
      this.$emit("mark", { ...this.name(), kind, at, radius: this.radius, positive: !negative });
      this.draw();
    },
    key(event) {
      const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (this.locked || !this.facts) return;
      if (arrows[event.key]) {
        const [x, y] = this.cursor ?? [this.width / 2, this.height / 2];
        const far = STEP * (event.shiftKey ? 10 : 1);
        const clip = (value, most) => Math.min(Math.max(value, 0.5), most - 0.5);
        const [dx, dy] = arrows[event.key];
        this.cursor = [clip(x + far * dx, this.width), clip(y + far * dy, this.height)];
        event.preventDefault();
        this.draw();
      } else if ((event.key === " " || event.key.toLowerCase() === "n") && this.cursor) {
        event.preventDefault();
        event.stopPropagation();
        this.mark(this.negative !== (event.key !== " "));
      }
    },
    mark(negative) {
      const kind = this.kind();
      if (kind !== "box") { this.report(kind, [...this.cursor], negative); return; }
      this.freeze();
      if (!this.corner) { this.corner = [...this.cursor]; return; } // the other corner follows
      this.report("box", [...this.corner, ...this.cursor], negative);
      this.corner = null;
    },
  },
};
