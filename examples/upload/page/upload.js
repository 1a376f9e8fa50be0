import { Connection } from "./shared/socket.js";

const id = (name) => document.getElementById(name);
const BLOCK = 2 ** 18; // bytes of which a digest is taken: the server's
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

const digest = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

/** The SHA-256 of the SHA-256s of the blocks, in hex; only one block is in memory at a time. */
async function checksum(file) {
  const digests = new Uint8Array(32 * Math.ceil(file.size / BLOCK));
  for (let number = 0; number * BLOCK < file.size; number++) {
    const block = file.slice(number * BLOCK, (number + 1) * BLOCK);
    digests.set(await digest(await block.arrayBuffer()), 32 * number);
  }
  return Array.from(await digest(digests), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One file on its way. */
class Upload {
  #file; #key; #checksum; #connection; #window = 0; #turn = 0;
  #sent = 0; #written = 0; #from = 0; #since = 0; #wake;

  constructor(file) {
    this.#file = file;
    this.#key = `upload ${file.name} ${file.size} ${file.lastModified}`; // a reloaded page goes on with the same file
    this.#checksum = checksum(file);
    this.#checksum.catch((error) => this.#unreadable(error));
    this.#connection = new Connection("ws", {
      open: () => this.#connection.send({ name: file.name, size: file.size, id: localStorage[this.#key] ?? "" }),
      message: (message) => this.#receive(message),
      close: (code, reason) => this.#lost(code, reason),
    });
    id("lose").disabled = false;
  }

  lose() {
    this.#connection.interrupt();
  }

  #receive({ id: name, offset, window, done, failed }) {
    if (done) return this.#end("Uploaded; the checksums are the same.");
    if (failed) return this.#end(`Failed: ${failed}.`);
    this.#written = offset;
    if (name) {
      localStorage[this.#key] = name;
      this.#window = window;
      this.#sent = this.#from = offset;
      this.#since = performance.now();
      id("result").textContent = offset ? `Going on at ${megabytes(offset)} MB` : "Uploading";
      this.#pump(++this.#turn).catch((error) => this.#unreadable(error));
    } else if (this.#sent - offset < this.#window) this.#wake?.();
    if (offset === this.#file.size) this.#finish(this.#turn);
    this.#show();
  }

  /** Send blocks while the window has room; a later turn, after a reconnect, ends this one. */
  async #pump(turn) {
    while (turn === this.#turn && this.#sent < this.#file.size) {
      if (this.#sent - this.#written >= this.#window) {
        await new Promise((wake) => (this.#wake = wake));
        continue;
      }
      const block = await this.#file.slice(this.#sent, this.#sent + BLOCK).arrayBuffer();
      if (turn !== this.#turn || !this.#connection.send(block)) return;
      this.#sent += block.byteLength;
      this.#show();
    }
  }

  async #finish(turn) {
    id("result").textContent = "Comparing checksums";
    const checksum = await this.#checksum;
    if (turn === this.#turn) this.#connection.send({ checksum });
  }

  #lost(code, reason) {
    this.#turn++;
    this.#wake?.();
    if (code === 1008) this.#end(`Refused: ${reason}.`);
    else id("result").textContent = "Waiting for the server";
  }

  #unreadable(error) {
    this.#end(`The file cannot be read: ${error.message}`);
  }

  #end(words) {
    this.#turn++;
    this.#wake?.();
    localStorage.removeItem(this.#key);
    this.#connection.close();
    id("result").textContent = words;
    id("lose").disabled = true;
    id("send").disabled = false;
  }

  #show() {
    const { size } = this.#file, seconds = (performance.now() - this.#since) / 1000;
    id("written").style.width = `${(100 * this.#written) / (size || 1)}%`;
    id("sent").style.width = `${(100 * this.#sent) / (size || 1)}%`;
    id("bar").ariaValueNow = Math.round((100 * this.#written) / (size || 1));
    id("amount").textContent = `${megabytes(this.#written)} of ${megabytes(size)} MB on disk`;
    id("under-way").textContent = `${Math.round((this.#sent - this.#written) / 1024)} KiB under way`;
    id("speed").textContent = `${megabytes((this.#written - this.#from) / Math.max(seconds, 0.001))} MB/s`;
  }
}

let upload;
id("send").addEventListener("click", () => {
  const [file] = id("file").files;
  if (!globalThis.crypto?.subtle) id("result").textContent = "Checksums need https:, or localhost.";
  else if (file) {
    id("send").disabled = true;
    upload = new Upload(file);
  }
});
id("lose").addEventListener("click", () => upload.lose());
