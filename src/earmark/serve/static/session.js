// One session with the server over a WebSocket: docs/protocol.md. It comes back when it is lost.

const HEADER = 16;
const WAITS = [250, 500, 1000, 2000, 4000];

/** Why the server lets this page in no more, which a WebSocket does not tell; empty: it does. */
async function refusal() {
  try {
    const answer = await fetch("api/model");
    return answer.status === 401 ? (await answer.json()).error : "";
  } catch {
    return ""; // it does not answer
  }
}

/** A session; `handlers` take `ready`, `columns`, `state` and every type of message. */
export class Session {
  constructor(start, handlers) {
    this.start = start;
    this.handlers = handlers;
    this.closed = false;
    this.id = "";
    this.tries = 0;
    this.sequence = 0;
    this.base = 0; // seconds of the page at which the server's session began
    this.firstSample = 0; // of the page, at which the server's session began
    this.taken = 0; // samples of the page so far
    this.lostAt = 0;
    this.open();
  }

  open() {
    const address = new URL("api/stream", document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, ["earmark.v1"]);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.ready = false;
    socket.onopen = () => {
      socket.send(JSON.stringify({ type: "start", protocol: 1, ...this.start, resume: this.id }));
    };
    socket.onmessage = (event) => this.receive(event.data);
    socket.onclose = () => this.lost(socket);
  }

  receive(data) {
    if (data instanceof ArrayBuffer) {
      const view = new DataView(data);
      if (view.getUint8(0) !== 1 || view.getUint8(1) !== 2) return;
      const bands = view.getUint16(2, true);
      const first = Number(view.getBigUint64(8, true));
      this.handlers.columns(new Uint8Array(data, HEADER), bands, first);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "ready") this.begin(message);
    if (message.type === "error") this.refused = message.text;
    if (message.type === "end") this.closed = true;
    this.handlers[message.type]?.(message, this.base);
  }

  begin(message) {
    const again = this.id === message.session;
    const lost = this.lostAt ? (performance.now() - this.lostAt) / 1000 : 0;
    if (!again) {
      this.sequence = 0;
      this.firstSample = this.taken;
      if (message.kind === "client") this.base = this.taken / message.sample_rate;
    }
    if (lost) this.handlers.state?.(again ? "resumed" : "restarted", lost);
    this.id = message.session;
    this.lostAt = 0;
    this.tries = 0;
    this.ready = true;
  }

  lost(socket) {
    if (socket !== this.socket) return;
    this.ready = false;
    if (this.closed) {
      this.handlers.state?.("closed", 0);
      return;
    }
    if (this.refused) {
      this.closed = true;
      this.handlers.state?.("refused", 0, this.refused);
      return;
    }
    if (!this.lostAt) this.lostAt = performance.now();
    if (this.start.source?.kind === "file") {
      this.closed = true;
      this.handlers.state?.("refused", 0, "The connection was lost. Send the file again.");
      return;
    }
    this.handlers.state?.("lost", 0);
    const wait = WAITS[Math.min(this.tries, WAITS.length - 1)];
    this.tries += 1;
    this.timer = setTimeout(() => this.again(), wait);
  }

  /** Try again, unless the server lets this page in no more, as with another token. */
  async again() {
    const line = await refusal();
    if (this.closed) return;
    if (line) {
      this.closed = true;
      this.handlers.state?.("refused", 0, line);
    } else this.open();
  }

  /** Send 16-bit samples; those that come while there is no connection are missed. */
  send(samples) {
    const first = this.taken;
    this.taken += samples.length;
    if (!this.ready || this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > 4_000_000) return; // the network stands still
    const message = new ArrayBuffer(HEADER + samples.byteLength);
    const view = new DataView(message);
    view.setUint8(0, 1);
    view.setUint8(1, 1);
    view.setUint32(4, this.sequence, true);
    view.setBigUint64(8, BigInt(first - this.firstSample), true);
    new Int16Array(message, HEADER).set(samples);
    this.sequence += 1;
    this.socket.send(message);
  }

  /** Tell the server of thresholds and of the classes that count. */
  rules(rules) {
    Object.assign(this.start, rules);
    if (this.ready && !this.closed) this.socket.send(JSON.stringify({ type: "rules", ...rules }));
  }

  /** End the session; what is under way still comes. */
  end() {
    clearTimeout(this.timer);
    const lost = !this.ready;
    this.closed = true;
    if (lost) {
      this.socket.close();
      this.handlers.state?.("closed", 0);
    } else this.socket.send(JSON.stringify({ type: "end" }));
  }
}
