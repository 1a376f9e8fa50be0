// A worker that measures messages per second: it keeps `window` messages of `size` bytes in flight on a connection of
// its own for `seconds`, and reports every 100 ms. In a worker, so that drawing the page does not slow it down.

const TICK = 100; // ms between reports
const SAMPLES = 200_000; // round trips that are kept for the percentiles

onmessage = ({ data: { url, size, window, seconds } }) => {
  const payload = new Uint8Array(size);
  for (let at = 0; at < size; at += 65536) crypto.getRandomValues(payload.subarray(at, Math.min(size, at + 65536)));

  const sentAt = new Float64Array(window); // a ring: echoes come back in the order of their messages
  const trips = new Float32Array(SAMPLES);
  let sent = 0, received = 0, ticked = 0, start = 0, lastTick = 0, over = false;

  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";

  const send = (now) => {
    sentAt[sent++ % window] = now;
    socket.send(payload);
  };

  const finish = (now) => {
    over = true;
    const sorted = trips.subarray(0, Math.min(received, SAMPLES)).sort();
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
    const elapsed = (now - start) / 1000;
    postMessage({ kind: "done", size, window, received, seconds: elapsed, rate: received / elapsed, p50: at(0.5), p99: at(0.99) });
    socket.close(1000);
    close();
  };

  socket.onopen = () => {
    start = lastTick = performance.now();
    while (sent < window) send(start);
  };

  socket.onmessage = () => {
    if (over) return;
    const now = performance.now();
    trips[received % SAMPLES] = now - sentAt[received % window];
    received++;
    if (now - lastTick >= TICK) {
      postMessage({ kind: "tick", at: (now - start) / 1000, rate: ((received - ticked) * 1000) / (now - lastTick) });
      ticked = received;
      lastTick = now;
    }
    if (now - start >= seconds * 1000) finish(now);
    else send(now);
  };

  socket.onclose = ({ code, reason }) => {
    if (!over) postMessage({ kind: "failed", code, reason });
    close();
  };
};
