"""What a client of paho-mqtt can do at the broker inside, in one version of MQTT; a line for each thing that held.

    interop.py HOST PORT 3|5 SITE DEVICE PASSWORD SCREEN PASSWORD

DEVICE publishes, SCREEN is a user of the password file that is no device.
"""

import datetime
import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SECONDS = 20
HOST, PORT, VERSION = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
SITE, DEVICE, DEVICE_PASSWORD, SCREEN, SCREEN_PASSWORD = sys.argv[4:9]
FIVE = VERSION == 5


def topic(kind):
    return f"vigil/v1/{SITE}/{DEVICE}/{kind}"


def said(**fields):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    return json.dumps({"ts": now, **fields})


class Client:
    """One connection, with what it hears and how it ends."""

    def __init__(self, user, password, name, kept=False, will=None):
        protocol = mqtt.MQTTv5 if FIVE else mqtt.MQTTv311
        more = {} if FIVE else {"clean_session": not kept}
        self.paho = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, protocol=protocol,
                                reconnect_on_failure=False, **more)
        self.paho.username_pw_set(user, password)
        if will:
            self.paho.will_set(*will)
        self.let_in, self.heard, self.over, self.subscribed = (queue.Queue() for _ in range(4))
        self.paho.on_connect = lambda _c, _u, flags, reason, _p: self.let_in.put((reason, flags.session_present))
        self.paho.on_message = lambda _c, _u, m: self.heard.put((m.topic, m.payload.decode(), m.qos, m.retain))
        self.paho.on_disconnect = lambda _c, _u, _f, reason, _p: self.over.put(reason)
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, _p: self.subscribed.put(reasons)
        if FIVE:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if kept else 0
            self.paho.connect(HOST, PORT, clean_start=not kept, properties=properties)
        else:
            self.paho.connect(HOST, PORT)
        self.paho.loop_start()
        self.reason, self.session_present = self.let_in.get(timeout=SECONDS)

    def subscribe(self, *filters):
        self.paho.subscribe([(f, qos) for f, qos in filters])
        return self.subscribed.get(timeout=SECONDS)

    def publish(self, kind, payload, qos, retain=False):
        sent = self.paho.publish(topic(kind), payload, qos=qos, retain=retain)
        sent.wait_for_publish(SECONDS)
        assert sent.is_published(), f"{kind} with QoS {qos} is not acknowledged"

    def hears(self, what):
        while True:
            message = self.heard.get(timeout=SECONDS)
            if what(*message):
                return message

    def leave(self):
        self.paho.disconnect()
        self.paho.loop_stop()

    def die(self):
        """Without a DISCONNECT, as a phone that loses its battery."""
        self.paho.socket().close()
        self.paho.loop_stop()


def device(name=DEVICE, **more):
    return Client(DEVICE, DEVICE_PASSWORD, name, **more)


def screen(name, **more):
    return Client(SCREEN, SCREEN_PASSWORD, name, **more)


def every_quality_of_service():
    client = device()
    for qos in (0, 1, 2):
        client.publish("activity", said(event=f"paho {VERSION} {qos}"), qos)
    client.leave()


def wrong_password():
    client = Client(DEVICE, "guessed", DEVICE)
    assert client.reason.is_failure and not client.session_present, client.reason


def retained_status():
    client = device()
    client.publish("status", "online", 1, retain=True)
    watch = screen("watch-1")
    watch.subscribe((topic("status"), 1))
    _, payload, _, retained = watch.hears(lambda t, *_: t == topic("status"))
    assert (payload, retained) == ("online", True), (payload, retained)
    client.leave()
    watch.leave()


def last_will():
    client = device(will=(topic("status"), "offline", 1, True))
    client.publish("status", "online", 1, retain=True)
    watch = screen("watch-2")
    watch.subscribe((topic("status"), 1))
    client.die()
    watch.hears(lambda t, payload, *_: (t, payload) == (topic("status"), "offline"))
    watch.leave()


def session_resumes():
    watch = screen(f"kept-{VERSION}", kept=True)
    assert not watch.session_present
    watch.subscribe((f"vigil/v1/{SITE}/alerts", 2))
    watch.leave()
    client = device()
    client.publish("sos", said(note=f"resumed {VERSION}"), 2)
    client.leave()
    watch = screen(f"kept-{VERSION}", kept=True)
    assert watch.session_present, "the session is gone"
    watch.hears(lambda t, payload, *_: json.loads(payload)["rule"] == "sos")
    watch.leave()


def second_connection_takes_over():
    first = device()
    second = device()
    # paho reads the reason of a DISCONNECT only if properties follow it.
    first.over.get(timeout=SECONDS)
    second.publish("activity", said(event=f"took over {VERSION}"), 1)
    second.leave()


def foreign_topics():
    client = device()
    (reason,) = client.subscribe((f"vigil/v1/{SITE}/someone-else/prompt", 1))
    assert reason.is_failure, reason
    (reason,) = client.subscribe((topic("prompt"), 1))
    assert not reason.is_failure, reason
    client.leave()


def packet_over_the_limit():
    client = device()
    client.paho.publish(topic("activity"), "x" * (300 * 1024), qos=1)
    client.over.get(timeout=SECONDS)
    client.paho.loop_stop()
    again = device()
    again.publish("activity", said(event=f"still served {VERSION}"), 1)
    again.leave()


for held in (every_quality_of_service, wrong_password, retained_status, last_will, session_resumes,
             second_connection_takes_over, foreign_topics, packet_over_the_limit):
    held()
    print(held.__name__, flush=True)
