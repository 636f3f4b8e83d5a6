# SPDX-License-Identifier: Apache-2.0
"""Management controllers that switch servers of a lab off: IPMI (ipmi_sim) and Redfish (a small one of our own, over TLS)."""

import base64
import http.server
import json
import os
import signal
import ssl
import stat
import subprocess
import sys
import threading

LAN = """name "bmc"
set_working_mc 0x20
  startlan 1
    addr {address} {port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "{chassis}"
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "admin" "{password}" admin 10 none md2 md5 straight
"""
COMMANDS = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
CHASSIS = """#!/bin/sh
op=$1
shift
while [ $# -gt 0 ]; do
    case $op-$1 in
    get-power) echo "power:$(cat {power})" ;;
    get-*) echo "$1:0" ;;
    set-power) [ -e {power}.stuck ] || echo "$2" >{power}; shift ;;
    set-*) shift ;;
    esac
    shift
done
"""
PASSWORD = "s3cret-of-the-bmc"


def program(path, text):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


class Controller:
    """A management controller: in the namespaces of the machine where, for the server of that name. Its power is a file."""

    def __init__(self, l, where, server, port):
        self.lab, self.where, self.server, self.port = l, where, server, port
        self.dir = os.path.join(l.dir, f"bmc-{server}-{port}")
        os.makedirs(self.dir + "/state", exist_ok=True)
        self.power, self.address = self.dir + "/power", l.address("management", where)
        self.process = self.cable = None
        self.ended = threading.Event()
        self.set("1")

    def start(self, args):
        self.process = subprocess.Popen(self.lab.spaces[self.where].enter(args), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def connect(self):
        """From now on the server's power is what the controller switches: when it goes off, everything there is killed."""
        def follow():
            was = self.get()
            while not self.ended.wait(0.02):
                now = self.get()
                if was == "1" and now == "0":
                    self.lab.kill(self.server)
                was = now or was
        self.cable = threading.Thread(target=follow, daemon=True)
        self.cable.start()

    def stuck(self, yes):
        """It takes orders, and nothing happens."""
        if yes:
            with open(self.power + ".stuck", "w"):
                pass
        elif os.path.exists(self.power + ".stuck"):
            os.unlink(self.power + ".stuck")

    def set(self, value):
        with open(self.power, "w") as f:
            f.write(value)

    def get(self):
        with open(self.power) as f:
            return f.read().strip()

    def end(self):
        self.ended.set()
        if self.cable:
            self.cable.join()
        self.process.kill()
        self.process.wait()


class Ipmi(Controller):
    """ipmi_sim, for fence_ipmilan."""

    def __init__(self, l, where, server, port):
        super().__init__(l, where, server, port)
        program(self.dir + "/chassis", CHASSIS.replace("{power}", self.power))
        with open(self.dir + "/lan.conf", "w") as f:
            f.write(LAN.format(address=self.address, port=port, chassis=self.dir + "/chassis", password=PASSWORD))
        with open(self.dir + "/commands", "w") as f:
            f.write(COMMANDS)
        self.start(["ipmi_sim", "-c", self.dir + "/lan.conf", "-f", self.dir + "/commands", "-s", self.dir + "/state", "-n"])
        self.fence = {"agent": "fence_ipmilan", "address": self.address, "port": port, "user": "admin",
                      "password": PASSWORD, "options": ["lanplus=1", "cipher=3"]}


class Redfish(Controller):
    """The part of Redfish that fence_redfish speaks, over TLS with a certificate of its own, as such controllers have."""

    def __init__(self, l, where, server, port):
        super().__init__(l, where, server, port)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bmc", "-addext",
                        f"subjectAltName=IP:{self.address}", "-keyout", self.dir + "/key.pem", "-out", self.dir + "/cert.pem"],
                       check=True, capture_output=True)
        self.start(["/usr/bin/python3", os.path.abspath(__file__), self.address, str(port), self.dir])
        self.fence = {"agent": "fence_redfish", "address": self.address, "port": port, "user": "admin",
                      "password": PASSWORD, "options": ["ssl_insecure=1"]}

    def hang(self, yes):
        """Takes connections, and says nothing."""
        os.kill(self.process.pid, signal.SIGSTOP if yes else signal.SIGCONT)


SYSTEM = "/redfish/v1/Systems/1"


class RedfishHandler(http.server.BaseHTTPRequestHandler):
    directory = None
    RESETS = {"On": "1", "ForceOff": "0", "ForceRestart": "1"}

    def log_message(self, *args):
        pass

    def reply(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def signed_in(self):
        right = "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") == right:
            return True
        self.reply(401, {"error": {"code": "Base.1.0.GeneralError", "message": "authentication failed"}})
        return False

    def do_GET(self):
        if not self.signed_in():
            return
        with open(self.directory + "/power") as f:
            power = "On" if f.read().strip() == "1" else "Off"
        pages = {"/redfish/v1": {"Systems": {"@odata.id": "/redfish/v1/Systems"}},
                 "/redfish/v1/Systems": {"Members": [{"@odata.id": SYSTEM}]},
                 SYSTEM: {"Id": "1", "PowerState": power, "Actions": {"#ComputerSystem.Reset": {
                     "target": SYSTEM + "/Actions/ComputerSystem.Reset"}}}}
        page = pages.get(self.path.rstrip("/"))
        self.reply(200 if page else 404, page or {"error": {"message": "not found"}})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if not self.signed_in():
            return
        value = self.RESETS.get(body.get("ResetType"))
        if self.path != SYSTEM + "/Actions/ComputerSystem.Reset" or value is None:
            self.reply(400, {"error": {"message": "no such reset"}})
            return
        if not os.path.exists(self.directory + "/power.stuck"):
            with open(self.directory + "/power.new", "w") as f:
                f.write(value)
            os.rename(self.directory + "/power.new", self.directory + "/power")
        self.reply(200, {})


def serve(address, port, directory):
    RedfishHandler.directory = directory
    server = http.server.ThreadingHTTPServer((address, int(port)), RedfishHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory + "/cert.pem", directory + "/key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
