/** Files that have vanished or cannot be read, told once each, and when they are back. */
import { ServerError, type Item, type ItemApi } from "./api.ts";
import { byId, element, toast } from "./dom.ts";

const ASK_AGAIN_MS = 5000;

export class Problems {
  private readonly told = new Set<string>();
  private timer = 0;

  constructor(
    private readonly api: ItemApi,
    item: Item,
    private readonly mended: () => void,
  ) {
    byId("problems").replaceChildren();
    this.show(item.problems);
    if (item.problems.length) this.askAgain();
  }

  close(): void {
    clearTimeout(this.timer);
  }

  /** Tell what a request met with. A lost connection is shown by the review. */
  tell(error: unknown): void {
    if (!(error instanceof ServerError)) throw error;
    if (error.passing && error.status < 500) {
      if (error.message.startsWith("The base map")) this.once(error.message);
      return;
    }
    if (error.status === 410) {
      this.add(error.message);
      this.askAgain();
    } else {
      this.once(error.message);
    }
  }

  private once(message: string): void {
    if (!this.told.has(message)) toast(message);
    this.told.add(message);
  }

  private add(message: string): void {
    if (this.told.has(message)) return;
    this.told.add(message);
    byId("problems").append(element("p", { class: "warning" }, message));
  }

  private show(messages: string[]): void {
    for (const message of messages) this.add(message);
  }

  private askAgain(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.ask(), ASK_AGAIN_MS);
  }

  private async ask(): Promise<void> {
    try {
      const item = await this.api.item();
      if (!item.problems.length) {
        this.told.clear();
        byId("problems").replaceChildren();
        this.mended();
        return;
      }
      this.show(item.problems);
    } catch (error) {
      if (!(error instanceof ServerError)) throw error;
    }
    this.askAgain();
  }
}
