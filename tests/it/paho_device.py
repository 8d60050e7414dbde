"""A device made of paho-mqtt, driven line by line, for tests/it/stock_clients.rs.

Arguments: protocol (3 or 5), host, port, client id, user name, password, topic to subscribe,
transport (tcp or websockets), and for TLS the files of the authority and of the device's own
certificate and key; each may be empty. Without a password no user name is sent.
Reads `topic<TAB>payload` on stdin and publishes it with QoS 1; prints
`up` once subscribed, `ack` at each PUBACK, `down<TAB>topic<TAB>payload` for each message,
and `refused<TAB>reason` where the connection or a publish was refused.
"""

import sys

import paho.mqtt.client as mqtt

protocol, host, port, client_id, user, password, subscription = sys.argv[1:8]
transport, authority, certificate, key = sys.argv[8:12]


def say(*words):
    print(*words, sep="\t", flush=True)


def on_connect(client, _userdata, _flags, reason, _properties):
    if reason.is_failure:
        say("refused", reason)
        client.disconnect()
    else:
        client.subscribe(subscription, qos=1)


def on_subscribe(_client, _userdata, _mid, reasons, _properties):
    refused = [str(reason) for reason in reasons if reason.is_failure]
    say("refused", *refused) if refused else say("up")


def on_publish(_client, _userdata, _mid, reason, _properties):
    say("refused", reason) if reason.is_failure else say("ack")


def on_message(_client, _userdata, message):
    say("down", message.topic, message.payload.decode())


client = mqtt.Client(
    mqtt.CallbackAPIVersion.VERSION2,
    client_id=client_id,
    protocol=mqtt.MQTTv5 if protocol == "5" else mqtt.MQTTv311,
    transport=transport,
)
if password:
    client.username_pw_set(user, password)
if transport == "websockets":
    client.ws_set_options(path="/mqtt")
if authority:
    client.tls_set(ca_certs=authority, certfile=certificate or None, keyfile=key or None)
client.on_connect = on_connect
client.on_subscribe = on_subscribe
client.on_publish = on_publish
client.on_message = on_message
client.connect(host, int(port), keepalive=30)
client.loop_start()
for line in sys.stdin:
    topic, payload = line.rstrip("\n").split("\t", 1)
    client.publish(topic, payload, qos=1)
client.disconnect()
client.loop_stop()
