/** The selected change: both dates, figures, verdict and note. */
import type { ItemApi } from "./api.ts";
import { byId, element } from "./dom.ts";
import type { Entry } from "./entries.ts";
import { size } from "./format.ts";
import type { Grid } from "./grid.ts";
import { surroundings, title, verdictWord } from "./list.ts";

export interface DetailActions {
  accept(): void;
  reject(): void;
  redraw(): void;
  undo(): void;
  step(by: 1 | -1): void;
  note(text: string): void;
}

const PICTURE_PX = 176;

export class Detail {
  private readonly root = byId("detail");
  private key: string | null = null;
  private readonly figures = element("p", { class: "figures" });
  private readonly heading = element("h3");
  private readonly stamp = element("p", { class: "fine stamp" });
  private readonly note = element("textarea", { id: "note", "aria-label": "Note", rows: 1, maxlength: 2000 });
  private readonly pictures: Record<"before" | "after", HTMLImageElement>;
  private readonly buttons: Record<"accept" | "reject" | "redraw" | "undo", HTMLButtonElement>;
  private readonly card: HTMLElement;

  constructor(
    private readonly api: ItemApi,
    private readonly grid: Grid,
    private readonly actions: DetailActions,
  ) {
    const picture = (date: string) => element("img", { alt: date, width: PICTURE_PX, height: PICTURE_PX });
    this.pictures = { before: picture("Before"), after: picture("After") };
    const button = (name: string, label: string, key: string, action: () => void) => {
      const made = element("button", { type: "button", id: name, "aria-keyshortcuts": key }, label, " ", element("kbd", {}, key));
      made.addEventListener("click", action);
      return made;
    };
    this.buttons = {
      accept: button("accept", "✓ Accept", "A", () => actions.accept()),
      reject: button("reject", "✗ Reject", "R", () => actions.reject()),
      redraw: button("redraw", "Redraw", "E", () => actions.redraw()),
      undo: button("undo", "Undo", "U", () => actions.undo()),
    };
    const previous = button("previous", "‹ Back", "K", () => actions.step(-1));
    const next = button("next", "Next ›", "J", () => actions.step(1));
    this.note.addEventListener("change", () => this.actions.note(this.note.value));
    this.card = element(
      "div",
      { class: "chosen" },
      element("div", { class: "head" }, this.heading, this.figures),
      element("div", { class: "pictures" }, this.pictures.before, this.pictures.after),
      element("div", { class: "buttons main" }, this.buttons.accept, this.buttons.reject),
      element("div", { class: "buttons" }, previous, next, this.buttons.redraw, this.buttons.undo),
      element("label", { for: "note" }, "Note"),
      this.note,
      this.stamp,
    );
  }

  show(entry: Entry | null, state: { writable: boolean; canUndo: boolean }): void {
    if (!entry) {
      this.key = null;
      this.root.replaceChildren(element("p", { class: "fine" }, "Choose a change in the list or on the map, or press J."));
      return;
    }
    if (!this.card.isConnected) this.root.replaceChildren(this.card);
    if (entry.key !== this.key) {
      const box = surroundings(entry.bbox, this.grid);
      for (const date of ["before", "after"] as const) this.pictures[date].src = this.api.thumbnail(date, box, PICTURE_PX * 2);
    }
    if (entry.key !== this.key || document.activeElement !== this.note) this.note.value = entry.row?.note ?? "";
    this.key = entry.key;
    this.heading.textContent = `${title(entry)}: ${verdictWord(entry)}`;
    const scores = entry.candidate
      ? ` · mean score ${entry.candidate.mean_score.toFixed(2)}, highest ${entry.candidate.max_score.toFixed(2)}`
      : "";
    this.figures.textContent = `${size(entry.pixels, entry.areaM2)}${scores}`;
    const verdict = entry.row?.verdict;
    this.buttons.accept.setAttribute("aria-pressed", String(verdict === "accepted" || verdict === "edited"));
    this.buttons.reject.setAttribute("aria-pressed", String(verdict === "rejected"));
    for (const name of ["accept", "reject", "redraw"] as const) this.buttons[name].disabled = !state.writable;
    this.buttons.undo.disabled = !state.canUndo;
    this.note.disabled = !entry.row || !state.writable;
    this.note.placeholder = entry.row ? "" : "Judge the change first";
    const when = entry.row ? new Date(entry.row.when).toLocaleString() : "";
    this.stamp.textContent = entry.row ? [entry.row.who, when].filter(Boolean).join(", ") : "";
  }

  focusNote(): void {
    if (!this.note.disabled) this.note.focus();
  }
}
