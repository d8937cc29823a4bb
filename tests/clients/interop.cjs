// What a client of MQTT.js can do at the broker inside, in one version of MQTT; a line for each thing that held.
//
//     interop.cjs HOST PORT 3|5 SITE DEVICE PASSWORD SCREEN PASSWORD
//
// DEVICE publishes, SCREEN is a user of the password file that is no device.
"use strict";

const assert = require("node:assert");
const { once } = require("node:events");
const mqtt = require("mqtt");

const [host, port, version, site, device, devicePassword, screen, screenPassword] = process.argv.slice(2);
const five = version === "5";
const MILLIS = 20_000;

const topic = (kind) => `vigil/v1/${site}/${device}/${kind}`;
const said = (fields) => JSON.stringify({ ts: new Date().toISOString(), ...fields });

function within(promise, what) {
    let timer;
    const late = new Promise((_, refuse) => {
        timer = setTimeout(() => refuse(new Error(`${what}: not within ${MILLIS} ms`)), MILLIS);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** A connection that is let in, with all that it hears from its first moment on. */
async function connected(username, password, clientId, { kept = false, will } = {}) {
    const client = mqtt.connect({
        host, port: Number(port), username, password, clientId, will,
        protocolVersion: five ? 5 : 4, clean: !kept, reconnectPeriod: 0,
        properties: five ? { sessionExpiryInterval: kept ? 3600 : 0 } : undefined,
    });
    client.all = [];
    client.on("message", (at, payload, packet) => client.all.push({ at, payload: payload.toString(), packet }));
    client.on("error", () => {});
    const refused = once(client, "error").then(([error]) => Promise.reject(error));
    const [connack] = await within(Promise.race([once(client, "connect"), refused]), "a CONNACK");
    client.resumed = connack.sessionPresent;
    return client;
}

const asDevice = (options) => connected(device, devicePassword, device, options);
const asScreen = (name, options) => connected(screen, screenPassword, name, options);

const publish = (client, kind, payload, qos, retain = false) =>
    within(client.publishAsync(topic(kind), payload, { qos, retain }), `${kind} with QoS ${qos}`);

async function hears(client, what) {
    const until = Date.now() + MILLIS;
    while (Date.now() < until) {
        const found = client.all.find(what);
        if (found) return found;
        await new Promise((go) => setTimeout(go, 20));
    }
    throw new Error(`not heard within ${MILLIS} ms`);
}

const checks = {
    async every_quality_of_service() {
        const client = await asDevice();
        for (const qos of [0, 1, 2]) await publish(client, "activity", said({ event: `mqtt.js ${version} ${qos}` }), qos);
        await client.endAsync();
    },
    async wrong_password() {
        await assert.rejects(connected(device, "guessed", device), /not authorized|bad user ?name or password/i);
    },
    async retained_status() {
        const client = await asDevice();
        await publish(client, "status", "online", 1, true);
        const watch = await asScreen("js-watch-1");
        await watch.subscribeAsync(topic("status"), { qos: 1 });
        const heard = await hears(watch, (m) => m.at === topic("status"));
        assert.deepStrictEqual([heard.payload, heard.packet.retain], ["online", true]);
        await client.endAsync();
        await watch.endAsync();
    },
    async last_will() {
        const client = await asDevice({ will: { topic: topic("status"), payload: "offline", qos: 1, retain: true } });
        await publish(client, "status", "online", 1, true);
        const watch = await asScreen("js-watch-2");
        await watch.subscribeAsync(topic("status"), { qos: 1 });
        client.stream.destroy();
        await hears(watch, (m) => m.at === topic("status") && m.payload === "offline");
        await watch.endAsync();
    },
    async session_resumes() {
        const name = `js-kept-${version}`;
        let watch = await asScreen(name, { kept: true });
        assert(!watch.resumed);
        await watch.subscribeAsync(`vigil/v1/${site}/alerts`, { qos: 2 });
        await watch.endAsync();
        const client = await asDevice();
        await publish(client, "sos", said({ note: `MQTT.js resumed ${version}` }), 2);
        await client.endAsync();
        watch = await asScreen(name, { kept: true });
        assert(watch.resumed, "the session is gone");
        await hears(watch, (m) => JSON.parse(m.payload).rule === "sos");
        await watch.endAsync();
    },
    async second_connection_takes_over() {
        const first = await asDevice();
        const over = within(once(first, five ? "disconnect" : "close"), "the end of the first");
        const second = await asDevice();
        const [packet] = await over;
        if (five) assert.strictEqual(packet.reasonCode, 0x8e);
        await publish(second, "activity", said({ event: `took over ${version}` }), 1);
        await second.endAsync();
        await first.endAsync(true);
    },
    async foreign_topics() {
        const client = await asDevice();
        const foreign = client.subscribeAsync(`vigil/v1/${site}/someone-else/prompt`, { qos: 1 });
        await assert.rejects(foreign, (error) => error.packet?.granted?.[0] >= 0x80 || /error|authorized/i.test(error.message));
        const [own] = await client.subscribeAsync(topic("prompt"), { qos: 1 });
        assert(own.qos < 0x80);
        await client.endAsync();
    },
    async packet_over_the_limit() {
        const client = await asDevice();
        const over = within(once(client, "close"), "the end of the connection");
        client.publish(topic("activity"), "x".repeat(300 * 1024), { qos: 1 }, () => {});
        await over;
        await client.endAsync(true);
        const again = await asDevice();
        await publish(again, "activity", said({ event: `still served ${version}` }), 1);
        await again.endAsync();
    },
};

async function main() {
    for (const [name, check] of Object.entries(checks)) {
        await check();
        console.log(name);
    }
}

main().then(() => process.exit(0), (error) => {
    console.error(error);
    process.exit(1);
});
