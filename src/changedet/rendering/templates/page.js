// Moves the blocks of rendering/interactive.py. No library, no network.
"use strict";
(() => {
  document.documentElement.classList.add("live");
  const figure = (value) => (value === null ? "–" : value.toFixed(4));
  const grouped = (value) => value.toLocaleString("en");

  // --- Threshold ---------------------------------------------------------------------------
  class Explorer {
    constructor(root) {
      this.root = root;
      const data = JSON.parse(root.querySelector("script").textContent);
      this.from = data.score_from;
      this.changed = sums(data.changed);
      this.unchanged = sums(data.unchanged);
      this.slider = root.querySelector("input");
      this.followers = [];
      this.slider.addEventListener("input", () => this.show(this.slider.valueAsNumber));
    }

    show(place) {
      const hits = this.changed[place];
      const falseAlarms = this.unchanged[place];
      const misses = this.changed[0] - hits;
      const calm = this.unchanged[0] - falseAlarms;
      const share = (part, whole) => (whole ? part / whole : null);
      const precision = share(hits, hits + falseAlarms);
      const recall = share(hits, hits + misses);
      this.set("precision", figure(precision));
      this.set("recall", figure(recall));
      this.set("f1", figure(share(2 * hits, 2 * hits + falseAlarms + misses)));
      this.set("iou", figure(share(hits, hits + falseAlarms + misses)));
      this.set("tp", grouped(hits));
      this.set("fp", grouped(falseAlarms));
      this.set("fn", grouped(misses));
      this.set("tn", grouped(calm));
      const threshold = this.from[place];
      this.set("threshold", figure(threshold));
      this.slider.setAttribute("aria-valuetext", `threshold ${figure(threshold)}`);
      this.mark("curve", recall, precision);
      this.mark("histogram", threshold, 1);
      for (const follower of this.followers) follower.redraw(threshold);
    }

    set(name, text) {
      for (const one of this.root.querySelectorAll(`[data-figure="${name}"]`)) one.textContent = text;
    }

    mark(name, across, up) {
      const chart = this.root.querySelector(`[data-marker="${name}"]`);
      const mark = chart && chart.querySelector(".marker");
      if (!mark) return;
      mark.toggleAttribute("hidden", across === null || up === null);
      if (across === null || up === null) return;
      const [left, top, right, bottom] = chart.dataset.frame.split(" ").map(Number);
      const x = left + (right - left) * across;
      if (name === "histogram") {
        mark.setAttribute("d", `M${x} ${top}V${bottom}`);
      } else {
        const y = bottom - (bottom - top) * up;
        mark.setAttribute("d", `M${x - 7} ${y}a7 7 0 1 0 14 0a7 7 0 1 0 -14 0Z`);
      }
    }
  }

  // How many pixels lie in each bin or above it.
  function sums(counts) {
    const result = counts.slice();
    for (let place = result.length - 2; place >= 0; place--) result[place] += result[place + 1];
    return result;
  }

  // --- Pairs of images -----------------------------------------------------------------------
  class Pair {
    constructor(root, colours) {
      this.root = root;
      this.stage = root.querySelector(".stage");
      this.canvas = root.querySelector("canvas");
      this.colours = colours;
      const split = root.querySelector("input");
      const swipe = () => this.stage.style.setProperty("--split", `${100 - split.valueAsNumber}%`);
      split.addEventListener("input", swipe);
      // The line between both dates follows the pointer, too.
      this.stage.addEventListener("pointermove", (event) => {
        if (event.pointerType !== "mouse" && !event.buttons) return;
        const box = this.stage.getBoundingClientRect();
        split.value = 100 - (100 * (event.clientX - box.left)) / box.width;
        swipe();
      });
      swipe();
    }

    async load() {
      if (!this.canvas) return;
      const parts = [...this.root.querySelectorAll("img[data-part]")];
      const values = {};
      for (const image of parts) {
        image.loading = "eager";
        await image.decode().catch(() => {});
        values[image.dataset.part] = grey(image);
        this.canvas.width = image.naturalWidth;
        this.canvas.height = image.naturalHeight;
      }
      this.values = values;
    }

    redraw(threshold) {
      if (!this.values || !this.values.score) return;
      const { score, label } = this.values;
      const context = this.canvas.getContext("2d");
      const picture = context.createImageData(this.canvas.width, this.canvas.height);
      // Scores are stored in steps of 1/255.
      const least = Math.round(threshold * 255);
      for (let place = 0; place < score.length; place++) {
        const detected = score[place] >= least && threshold <= 1;
        const ignored = label && label[place] === 128;
        const changed = label && label[place] === 255;
        let name = null;
        if (ignored) continue;
        if (!label) name = detected ? "change" : null;
        else if (detected) name = changed ? "hit" : "false alarm";
        else if (changed) name = "miss";
        if (name) picture.data.set([...this.colours[name], 165], 4 * place);
      }
      context.putImageData(picture, 0, 0);
    }
  }

  function grey(image) {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const colours = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const values = new Uint8Array(colours.length / 4);
    for (let place = 0; place < values.length; place++) values[place] = colours[4 * place];
    return values;
  }

  const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

  // --- Start -----------------------------------------------------------------------------------
  const explorers = new Map();
  for (const root of document.querySelectorAll(".explorer")) {
    explorers.set(root.dataset.name, new Explorer(root));
  }
  const loading = [];
  for (const gallery of document.querySelectorAll(".gallery")) {
    const colours = {};
    for (const item of gallery.querySelectorAll("[data-colour]")) {
      colours[item.dataset.colour] = rgb(item.dataset.hex);
    }
    const explorer = explorers.get(gallery.dataset.explorer);
    const pairs = [...gallery.querySelectorAll(".pair")].map((root) => new Pair(root, colours));
    const shown = gallery.querySelector("input[type=checkbox]");
    if (shown) {
      shown.addEventListener("change", () => gallery.classList.toggle("plain", !shown.checked));
    }
    for (const pair of pairs) {
      loading.push(
        pair.load().then(() => {
          if (explorer) explorer.followers.push(pair);
          pair.redraw(
            explorer ? explorer.from[explorer.slider.valueAsNumber] : Number(gallery.dataset.threshold)
          );
        })
      );
    }
  }
  for (const explorer of explorers.values()) explorer.show(explorer.slider.valueAsNumber);
  // For tests, and for whoever prints the page from a program.
  Promise.all(loading).then(() => document.documentElement.classList.add("ready"));
})();
