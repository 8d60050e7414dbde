// A device made of MQTT.js, driven line by line, for tests/it/stock_clients.rs.
//
// Takes the arguments of paho_device.py, reads what it reads and prints what it prints.
"use strict";

const fs = require("fs");
const readline = require("readline");
const mqtt = require("mqtt");

const [protocol, host, port, clientId, user, password, subscription] = process.argv.slice(2, 9);
const [transport, authority, certificate, key] = process.argv.slice(9, 13);

const say = (...words) => process.stdout.write(words.join("\t") + "\n");
const file = (path) => (path ? fs.readFileSync(path) : undefined);
const isWebSocket = transport === "websockets";

const client = mqtt.connect({
  protocol: (isWebSocket ? "ws" : "mqtt") + (authority ? "s" : ""),
  host,
  port: Number(port),
  path: isWebSocket ? "/mqtt" : undefined,
  clientId,
  username: password ? user : undefined,
  password: password || undefined,
  protocolVersion: protocol === "5" ? 5 : 4,
  keepalive: 30,
  // A connection that is lost is the test's to notice.
  reconnectPeriod: 0,
  ca: file(authority),
  cert: file(certificate),
  key: file(key),
});

client.on("connect", () =>
  client.subscribe(subscription, { qos: 1 }, (error, granted) => {
    const refused = (granted || []).filter((one) => one.qos > 2);
    error || refused.length ? say("refused", error || `0x${refused[0].qos.toString(16)}`) : say("up");
  }),
);
client.on("message", (topic, payload) => say("down", topic, payload.toString()));
client.on("error", (error) => say("refused", error.message));

const lines = readline.createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const tab = line.indexOf("\t");
  client.publish(line.slice(0, tab), line.slice(tab + 1), { qos: 1 }, (error) =>
    error ? say("refused", error.message) : say("ack"),
  );
});
lines.on("close", () => client.end());
