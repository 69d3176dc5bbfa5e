// An engine's connections. Each has a number; what comes late from an old one is left out by the engine.

interface Handlers {
  opened(n: number): void;
  frame(n: number, bytes: Uint8Array<ArrayBuffer>): void;
  closed(n: number): void;
}

export class Sockets {
  #open = new Map<number, WebSocket>();
  #urls: string[];
  #handlers: Handlers;
  /** Which of the relay's addresses is tried next. */
  #choice = 0;

  constructor(urls: string[], handlers: Handlers) {
    this.#urls = urls;
    this.#handlers = handlers;
  }

  connect(n: number): void {
    const url = this.#urls[this.#choice % this.#urls.length];
    let socket: WebSocket;
    try {
      socket = new WebSocket(url ?? '');
    } catch {
      this.#choice++;
      this.#handlers.closed(n);
      return;
    }
    let stood = false;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      stood = true;
      this.#handlers.opened(n);
    };
    socket.onmessage = ({ data }) => {
      // The relay sends binary frames only.
      if (data instanceof ArrayBuffer) this.#handlers.frame(n, new Uint8Array(data));
    };
    socket.onclose = () => {
      if (!stood) this.#choice++;
      this.#open.delete(n);
      this.#handlers.closed(n);
    };
    this.#open.set(n, socket);
  }

  send(n: number, bytes: Uint8Array<ArrayBuffer>): void {
    const socket = this.#open.get(n);
    if (socket?.readyState === WebSocket.OPEN) socket.send(bytes);
  }

  disconnect(n: number): void {
    this.#open.get(n)?.close();
  }

  /** Nothing is heard of them any more: the numbers begin anew. */
  closeAll(): void {
    for (const socket of this.#open.values()) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#open.clear();
  }
}
