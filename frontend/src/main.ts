/** The page of `changedet view`. */
import "maplibre-gl/dist/maplibre-gl.css";
import "./styles.css";
import { fetchItems, ItemApi, ServerError, type Items } from "./api.ts";
import { Controls } from "./controls.ts";
import { byId, element } from "./dom.ts";
import { COMMANDS, DRAWING, listenToKeys } from "./keys.ts";
import { Session } from "./session.ts";
import { makeSwipe } from "./swipe.ts";

const SINGLE_KEYS = "changedet.single-keys";

let session: Session | null = null;

function tell(error: unknown): void {
  if (!(error instanceof ServerError)) throw error;
  byId("problems").replaceChildren(element("p", { class: "warning" }, error.message));
}

async function openItem(items: Items, id: string, controls: Controls): Promise<void> {
  session?.close();
  session = null;
  try {
    const item = await new ItemApi(id).item();
    session = new Session(item, items.base_map, controls);
    await session.open();
  } catch (error) {
    tell(error);
  }
}

function offerItems(items: Items, controls: Controls): void {
  const choice = byId<HTMLSelectElement>("item");
  choice.replaceChildren(
    ...items.items.map(({ id, name, problem }) => element("option", { value: id }, problem ? `${name}: ${problem}` : name)),
  );
  const several = items.items.length > 1;
  byId("item-choice").hidden = !several;
  byId("item-name").hidden = several;
  const open = () => {
    history.replaceState(null, "", `#${encodeURIComponent(choice.value)}`);
    void openItem(items, choice.value, controls);
  };
  choice.addEventListener("change", open);
  for (const [button, by] of [["item-previous", -1], ["item-next", 1]] as const) {
    byId(button).addEventListener("click", () => {
      if (!several) return;
      choice.selectedIndex = (choice.selectedIndex + by + choice.options.length) % choice.options.length;
      open();
    });
  }
  const wanted = decodeURIComponent(location.hash.slice(1));
  const first = items.items.find(({ problem }) => !problem) ?? items.items[0];
  choice.value = items.items.some(({ id }) => id === wanted) ? wanted : (first?.id ?? "");
  if (choice.value) void openItem(items, choice.value, controls);
}

function wireControls(controls: Controls): void {
  const on = (id: string, event: string, action: (target: HTMLInputElement) => void) =>
    byId(id).addEventListener(event, ({ target }) => action(target as HTMLInputElement));
  on("modes", "change", () => session?.setMode(controls.mode));
  on("blink", "click", () => session?.blink());
  on("looked-at", "click", () => void session?.markWindow());
  on("draw", "click", () => session?.draw());
  on("drawing-done", "click", () => session?.drawing.finish());
  on("drawing-cancel", "click", () => session?.drawing.stop());
  on("fit", "click", () => session?.maps.fitAll());
  on("zoom-in", "click", () => session?.maps.zoomBy(1));
  on("zoom-out", "click", () => session?.maps.zoomBy(-1));
  on("threshold", "input", (slider) => session?.setThreshold(slider.valueAsNumber / 1000));
  on("threshold-number", "input", (field) => {
    if (field.validity.valid && field.value) session?.setThreshold(field.valueAsNumber);
  });
  on("threshold-reset", "click", () => session?.resetThreshold());
  for (const id of ["show-mask", "show-score", "show-outlines", "opacity"]) {
    on(id, "input", () => {
      byId("legend").hidden = !controls.look.showScore;
      session?.setLook();
    });
  }
  on("sort", "change", () => session?.orderChanged());
  for (const id of ["filter-verdict", "filter-area", "filter-score"]) on(id, "input", () => session?.relist());
  makeSwipe(byId("swipe"), document.querySelector<HTMLElement>(".maps")!);
  new ResizeObserver(() => session?.maps.resize()).observe(document.querySelector(".maps")!);
}

function wireHelp(): () => boolean {
  const help = byId<HTMLDialogElement>("help");
  const lines = [...COMMANDS, ...DRAWING].filter(({ shown }) => shown);
  byId("keys").append(
    ...lines.map(({ shown, text }) => element("div", {}, element("dt", {}, element("kbd", {}, shown)), element("dd", {}, text))),
  );
  byId("help-open").addEventListener("click", () => help.showModal());
  const single = byId<HTMLInputElement>("single-keys");
  single.checked = localStorage.getItem(SINGLE_KEYS) !== "off";
  single.addEventListener("change", () => localStorage.setItem(SINGLE_KEYS, single.checked ? "on" : "off"));
  return () => single.checked;
}

async function start(): Promise<void> {
  const singleKeys = wireHelp();
  try {
    const items = await fetchItems();
    const controls = new Controls(items.who);
    wireControls(controls);
    listenToKeys(() => session, singleKeys);
    offerItems(items, controls);
  } catch (error) {
    tell(error);
  }
}

void start();
