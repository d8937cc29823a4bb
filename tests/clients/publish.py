"""Publishes what it reads with QoS 1 through paho-mqtt, one client a device, each message acknowledged before the next.

    publish.py HOST PORT [--hold]

A line of standard input is {"device", "password", "topic", "payload", "will"}. With --hold every client has a last will
and stays connected until the process is killed.
"""

import json
import sys
import threading

import paho.mqtt.client as mqtt

SECONDS = 20


def connected(host, port, line, hold):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=line["device"], protocol=mqtt.MQTTv311)
    client.username_pw_set(line["device"], line["password"])
    if hold:
        client.will_set(line["will"], "offline", qos=1, retain=True)
    ready = threading.Event()

    def on_connect(_client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            sys.exit(f"not let in: {reason}")
        ready.set()

    client.on_connect = on_connect
    client.connect(host, port)
    client.loop_start()
    if not ready.wait(SECONDS):
        sys.exit(f"{line['device']} is not connected within {SECONDS} s")
    return client


def main():
    host, port, hold = sys.argv[1], int(sys.argv[2]), "--hold" in sys.argv
    clients = {}
    for text in sys.stdin:
        line = json.loads(text)
        device = line["device"]
        if device not in clients:
            clients[device] = connected(host, port, line, hold)
        sent = clients[device].publish(line["topic"], line["payload"], qos=1)
        sent.wait_for_publish(SECONDS)
        if not sent.is_published():
            sys.exit(f"no PUBACK within {SECONDS} s: {line['topic']}")
    for client in clients.values():
        client.disconnect()
        client.loop_stop()


main()
