/** The keyboard: one table for what keys do and for the help that lists them. */
import type { Session } from "./session.ts";

export interface Command {
  keys: string[];
  shown: string;
  text: string;
  run(session: Session): void;
}

const FINE_STEP = 0.001;
const STEP = 0.01;

function tick(id: string): void {
  (document.getElementById(id) as HTMLInputElement).click();
}

function focus(id: string): void {
  document.getElementById(id)!.focus();
}

export const COMMANDS: Command[] = [
  { keys: ["j", "n"], shown: "J", text: "next change", run: (session) => session.step(1) },
  { keys: ["k", "p"], shown: "K", text: "previous change", run: (session) => session.step(-1) },
  { keys: ["a"], shown: "A", text: "accept, and go on", run: (session) => session.judge("accepted") },
  { keys: ["r"], shown: "R", text: "reject, and go on", run: (session) => session.judge("rejected") },
  { keys: ["u"], shown: "U", text: "undo", run: (session) => session.undo() },
  { keys: ["d"], shown: "D", text: "draw a change that was missed", run: (session) => session.draw() },
  { keys: ["e"], shown: "E", text: "outline the change anew", run: (session) => session.redraw() },
  { keys: ["c"], shown: "C", text: "write a note", run: (session) => session.focusNote() },
  { keys: ["w"], shown: "W", text: "looked at: nothing else in view is change", run: (session) => void session.markWindow() },
  { keys: ["g"], shown: "G", text: "fly to the change", run: (session) => session.flyToSelected() },
  { keys: ["z"], shown: "Z", text: "whole image", run: (session) => session.maps.fitAll() },
  { keys: ["+", "="], shown: "+", text: "zoom in", run: (session) => session.maps.zoomBy(1) },
  { keys: ["-"], shown: "−", text: "zoom out", run: (session) => session.maps.zoomBy(-1) },
  { keys: ["b"], shown: "B", text: "blink: the other date (Esc: back)", run: (session) => session.blink() },
  { keys: ["v"], shown: "V", text: "next view: swipe, side by side, before, after", run: () => nextMode() },
  { keys: ["]"], shown: "]", text: "threshold up (Shift: finely)", run: (session) => session.stepThreshold(STEP) },
  { keys: ["["], shown: "[", text: "threshold down (Shift: finely)", run: (session) => session.stepThreshold(-STEP) },
  { keys: ["}"], shown: "", text: "", run: (session) => session.stepThreshold(FINE_STEP) },
  { keys: ["{"], shown: "", text: "", run: (session) => session.stepThreshold(-FINE_STEP) },
  { keys: ["0"], shown: "0", text: "threshold of the result", run: (session) => session.resetThreshold() },
  { keys: ["t"], shown: "T", text: "to the threshold slider", run: () => focus("threshold") },
  { keys: ["l"], shown: "L", text: "to the list", run: (session) => session.focusList() },
  { keys: ["m"], shown: "M", text: "changed pixels on or off", run: () => tick("show-mask") },
  { keys: ["s"], shown: "S", text: "scores on or off", run: () => tick("show-score") },
  { keys: ["o"], shown: "O", text: "outlines on or off", run: () => tick("show-outlines") },
  { keys: [","], shown: ",", text: "previous item", run: () => tick("item-previous") },
  { keys: ["."], shown: ".", text: "next item", run: () => tick("item-next") },
  { keys: ["?"], shown: "?", text: "this help", run: () => tick("help-open") },
];

/** Keys while drawing. */
export const DRAWING = [
  { shown: "Space", text: "drawing: corner in the middle of the map (arrow keys move it)" },
  { shown: "Enter", text: "drawing: finish" },
  { shown: "⌫", text: "drawing: take back the last corner" },
  { shown: "Esc", text: "drawing: cancel" },
];

function nextMode(): void {
  const modes = [...document.querySelectorAll<HTMLInputElement>("#modes input")];
  const at = modes.findIndex((mode) => mode.checked);
  modes[(at + 1) % modes.length]!.click();
}

const PAN_PX = 40;
const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-PAN_PX, 0],
  ArrowRight: [PAN_PX, 0],
  ArrowUp: [0, -PAN_PX],
  ArrowDown: [0, PAN_PX],
};

export function listenToKeys(session: () => Session | null, singleKeys: () => boolean): void {
  document.addEventListener("keydown", (event) => {
    const current = session();
    if (!current || event.defaultPrevented || event.ctrlKey || event.metaKey) return;
    if (document.querySelector("dialog[open]")) return;
    const target = event.target as HTMLElement;
    if (target.matches("textarea, select, input:not([type=range], [type=checkbox], [type=radio])")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (current.drawing.active && whileDrawing(current, event, target)) return event.preventDefault();
    if (event.key === "Escape") {
      current.endBlink();
      return;
    }
    if (event.altKey === singleKeys()) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const command = COMMANDS.find(({ keys }) => keys.includes(key));
    if (!command) return;
    event.preventDefault();
    command.run(current);
  });
}

function whileDrawing(session: Session, event: KeyboardEvent, target: HTMLElement): boolean {
  const onControl = target.matches("button, input, a, summary, [role=slider]");
  const arrow = ARROWS[event.key];
  if (event.key === "Escape") session.drawing.stop();
  else if (event.key === "Backspace") session.drawing.removeCorner();
  else if (event.key === "Enter" && !onControl) session.drawing.finish();
  else if (event.key === " " && !onControl) session.drawing.addCornerInTheMiddle();
  else if (arrow && !onControl) session.maps.panBy(...arrow);
  else return false;
  return true;
}
