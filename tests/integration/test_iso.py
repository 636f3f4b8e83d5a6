# SPDX-License-Identifier: Apache-2.0
"""ISO images, CD drives and disks made from images: with a real guest that boots from a CD. iso_list, iso_create, iso_show,
iso_change, iso_delete, vm_cdrom."""

import os
import subprocess

import cluster
import iso

# What a guest sees of a CD. As with real drives, the first look after a change may only tell the kernel that there is another.
LOOK = ("for i in 1 2 3 4 5; do mount -t iso9660 -o ro /dev/sr0 /mnt 2>/dev/null && break; sleep 1; done; "
        "cat /mnt/hello.txt; umount /mnt 2>/dev/null")


class Isos(cluster.ClusterCase):
    TEMPLATE = False

    @classmethod
    def prepare(cls):
        folder = cls.cluster.dir
        cls.boot = iso.bootable(folder + "/boot.iso")
        cls.second = iso.make(folder + "/second.iso", "SECOND", {"hello.txt": b"hello from the second CD\n"})
        cls.image = folder + "/image.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", cls.image, "8M"], check=True)

    def setUp(self):
        self.addCleanup(self.tidy)

    def tidy(self):
        for kind in ("vms", "disks", "isos", "templates", "uploads"):
            for item in self.api.list("/" + kind):
                if kind == "vms" and item["state"] != "stopped":
                    self.api.do(f"/vms/{item['id']}/kill")
                self.api.remove(f"/{kind}/{item['id']}")

    def load(self, name="boot", path=None):
        self.api.do("/isos", {"name": name, "image": {"path": path or self.boot}})
        return self.api.get("/isos/" + name)

    def files(self):
        return [name for name in self.cluster.agent.repository_files() if name.startswith("isos/")]

    def drives(self, vm):
        return [disk["iso"] for disk in self.api.get("/vms/" + vm)["disks"] if disk["cdrom"]]

    # ---- the images ----

    def test_iso_create_list_show_change_delete(self):
        made = self.load()
        self.assertEqual((made["state"], made["label"], made["size"]), ("ready", "TARNBOOT", os.path.getsize(self.boot)))
        self.assertEqual(self.files(), [f"isos/{made['id']}.iso"])
        self.assertEqual([item["name"] for item in self.api.list("/isos", filter="label=TARNBOOT")], ["boot"])
        self.refused(409, "exists", "POST", "/isos", {"name": "boot", "image": {"path": self.boot}})
        changed = self.api.patch("/isos/boot", {"name": "renamed", "description": "a CD"})
        self.assertEqual((changed["name"], changed["description"]), ("renamed", "a CD"))
        self.refused(400, "invalid", "PATCH", "/isos/renamed", {"label": "X"})
        self.api.remove("/isos/renamed")
        self.refused(404, "not-found", "GET", "/isos/renamed")
        self.assertEqual(self.files(), [])

    def test_from_an_upload(self):
        with open(self.second, "rb") as f:
            key = self.api.upload("second.iso", f.read())
        self.api.do("/isos", {"name": "second", "image": {"upload": key}})
        self.assertEqual(self.api.get("/isos/second")["label"], "SECOND")
        self.refused(404, "not-found", "GET", "/uploads/" + key)

    def test_what_is_none(self):
        cases = ((self.image, "bad-image"), (self.cluster.dir, "bad-image"), (self.cluster.dir + "/absent", "not-found"))
        cut = self.cluster.dir + "/cut.iso"
        with open(self.boot, "rb") as whole, open(cut, "wb") as part:
            part.write(whole.read(1 << 20))
        for path, code in (*cases, (cut, "bad-image")):
            job = self.api.wait_job(self.api.post("/isos", {"name": "none", "image": {"path": path}}))
            self.assertEqual((job["state"], job["error_code"]), ("failed", code), job["error"])
        self.refused(400, "invalid", "POST", "/isos", {"name": "none", "image": {"path": self.boot, "format": "qcow2"}})
        self.refused(400, "invalid", "POST", "/isos", {"name": "none"})
        self.refused(400, "invalid", "POST", "/isos", {"name": "none", "image": {}})
        key = self.api.post("/uploads", {"name": "half.iso", "size": 4096})["id"]
        self.refused(409, "conflict", "POST", "/isos", {"name": "none", "image": {"upload": key}})
        self.assertEqual((self.files(), self.api.list("/isos")), ([], []))

    def test_paths_are_for_administrators(self):
        self.api.post("/users", {"name": "isoer", "password": "longenough", "role": "operator"})
        self.addCleanup(self.api.delete, "/users/isoer")
        operator = self.api.sign_in("isoer", "longenough")
        answer = operator.raw("POST", "/isos", {"name": "mine", "image": {"path": self.boot}})
        self.assertEqual(answer.status, 403)
        with open(self.second, "rb") as f:
            key = operator.upload("second.iso", f.read())
        operator.do("/isos", {"name": "mine", "image": {"upload": key}})

    # ---- drives ----

    def test_a_guest_boots_from_a_cd_and_gets_another(self):
        boot = self.load()
        second = self.load("second", self.second)
        self.api.do("/vms", {"name": "cd", "cdrom": "boot", "disks": [{"size": 8 << 20}], "memory": 256 << 20, "nics": [],
                             "display": "none", "restart_policy": "never", "start": True}, timeout=120)
        self.assertEqual(self.drives("cd"), [boot["id"]])
        with self.cluster.console("cd") as console:
            console.prompt(180)  # isolinux, the full kernel and no KVM
            self.assertEqual(console.command(LOOK)[0], "hello from the CD\n")
            self.assertEqual(console.command("cat /sys/block/vda/size"), (f"{(8 << 20) // 512}\n", 0))
            self.refused(409, "in-use", "DELETE", "/isos/boot")
            self.refused(409, "conflict", "PATCH", "/vms/cd", {"disks": []})
            job = self.api.do("/vms/cd/cdrom", {"iso": "second"})
            self.assertEqual(job["kind"], "vm.cdrom")
            self.assertEqual(self.drives("cd"), [second["id"]])
            self.assertEqual(console.command(LOOK)[0][-25:], "hello from the second CD\n")
            self.api.remove("/isos/boot")  # nothing of it is held any more
            self.assertEqual(self.deleted_files(), [])
            self.api.do("/vms/cd/cdrom", {})
            self.assertEqual(self.drives("cd"), [""])
            self.assertNotEqual(console.command("mount -t iso9660 -o ro /dev/sr0 /mnt 2>/dev/null")[1], 0)
            self.api.do("/vms/cd/cdrom", {})  # what is empty may be emptied
            self.api.do("/vms/cd/suspend")
            self.api.do("/vms/cd/cdrom", {"iso": second["id"]})
            self.api.do("/vms/cd/resume")
            self.assertEqual(console.command(LOOK)[0][-25:], "hello from the second CD\n")
            self.refused(404, "not-found", "POST", "/vms/cd/cdrom", {"iso": "nobody"})
            self.refused(409, "conflict", "POST", "/vms/cd/cdrom", {"iso": "second", "drive": 1})

    def deleted_files(self):
        """Files in the repository that QEMU still has open and that are gone."""
        (pid,) = self.cluster.agent.guests().values()
        return [name for name in cluster.files_of(pid) if self.cluster.agent.repository in name and name.endswith("(deleted)")]

    def test_drives_of_a_stopped_vm(self):
        boot = self.load()
        self.load("second", self.second)
        self.api.do("/vms", {"name": "off", "disks": [{"cdrom": True}, {"iso": "boot", "bus": "virtio-scsi"}, {"size": 1 << 20}],
                             "display": "none", "nics": []})
        disks = self.api.get("/vms/off")["disks"]
        self.assertEqual([(d["cdrom"], d["bus"], d["read_only"], d["iso"]) for d in disks],
                         [(True, "sata", True, ""), (True, "virtio-scsi", True, boot["id"]), (False, "virtio-blk", False, "")])
        self.api.do("/vms/off/cdrom", {"iso": "second", "drive": 1})
        self.assertEqual(self.drives("off"), ["", self.api.get("/isos/second")["id"]])
        # The whole list by PATCH: one drive goes, the other gets a CD.
        changed = self.api.patch("/vms/off", {"disks": [{"iso": "boot"}, {"disk": disks[2]["disk"]}]})
        self.assertEqual([d["iso"] for d in changed["disks"]], [boot["id"], ""])
        self.api.remove("/isos/second")
        for body in ({"disks": [{"iso": "boot", "size": 1 << 20}]}, {"disks": [{"cdrom": True, "disk": disks[2]["disk"]}]},
                     {"disks": [{"iso": "boot"}], "machine": "microvm"}):
            self.assertEqual(self.api.raw("PATCH", "/vms/off", body).status, 400, body)
        self.refused(404, "not-found", "PATCH", "/vms/off", {"disks": [{"iso": "nobody"}]})
        self.refused(409, "in-use", "DELETE", "/isos/boot")
        self.assertEqual(self.api.raw("DELETE", "/repositories/local").status, 409)
        self.api.remove("/vms/off")
        self.assertEqual([item["name"] for item in self.api.list("/isos")], ["boot"])

    def test_several_share_one(self):
        self.load()
        for name in ("one", "two"):
            self.api.do("/vms", {"name": name, "cdrom": "boot", "memory": 64 << 20, "display": "none", "nics": [], "start": True,
                                 "restart_policy": "never"})
        self.assertEqual([self.cluster.vm_state(name) for name in ("one", "two")], ["running", "running"])
        # The agent takes them up again, and a drive is changed by one that did not start them.
        self.cluster.agent.stop()
        self.cluster.agent.start()
        self.cluster.wait_online(self.cluster.agent.name)
        cluster.wait_until(lambda: self.cluster.vm_state("one") == "running", 20)
        self.api.do("/vms/one/cdrom", {})
        self.assertEqual((self.drives("one"), self.drives("two")), ([""], [self.api.get("/isos/boot")["id"]]))

    def test_a_golden_image_leaves_the_cd_out(self):
        self.load()
        self.api.do("/vms", {"name": "gold", "disks": [{"iso": "boot"}, {"size": 1 << 20}, {"size": 2 << 20}], "nics": []})
        self.api.do("/templates", {"name": "golden", "from_vm": "gold"})
        self.assertEqual([disk["size"] for disk in self.api.get("/templates/golden")["disks"]], [1 << 20, 2 << 20])
        self.api.do("/vms", {"name": "child", "template": "golden", "cdrom": "boot"})
        self.assertEqual([bool(disk["disk"]) for disk in self.api.get("/vms/child")["disks"]], [True, True, False])

    # ---- disks from images ----

    def test_disks_from_images(self):
        self.api.do("/disks", {"name": "same", "image": {"path": self.image}})
        self.assertEqual(self.api.get("/disks/same")["size"], 8 << 20)
        self.api.do("/disks", {"name": "larger", "size": 16 << 20, "image": {"path": self.image, "format": "qcow2"}})
        self.assertEqual(self.api.get("/disks/larger")["size"], 16 << 20)
        job = self.api.wait_job(self.api.post("/disks", {"name": "smaller", "size": 1 << 20, "image": {"path": self.image}}))
        self.assertEqual((job["state"], job["error_code"]), ("failed", "invalid"))
        job = self.api.wait_job(self.api.post("/disks", {"name": "none", "image": {"path": self.cluster.agent.state + "/agent.json"}}))
        self.assertEqual((job["state"], job["error_code"]), ("failed", "bad-image"))
        self.refused(400, "invalid", "POST", "/disks", {"name": "nothing"})
        self.refused(400, "invalid", "POST", "/disks", {"name": "both", "image": {"path": self.image, "upload": self.api.upload("x", b"x")}})

    def test_a_vm_with_a_disk_from_an_upload(self):
        with open(self.image, "rb") as f:
            data = f.read()
        key = self.api.upload("image.qcow2", data)
        self.refused(400, "invalid", "POST", "/vms", {"name": "twice", "disks": [{"image": {"upload": key}}, {"image": {"upload": key}}]})
        self.api.do("/vms", {"name": "made", "disks": [{"image": {"upload": key}}], "memory": 64 << 20, "nics": [], "display": "none",
                             "start": True, "restart_policy": "never"})
        self.assertEqual(self.cluster.vm_state("made"), "running")
        disk = self.api.get("/disks/" + self.api.get("/vms/made")["disks"][0]["disk"])
        self.assertEqual((disk["name"], disk["size"], disk["made_with_vm"]), ("made-1", 8 << 20, True))
        self.refused(404, "not-found", "GET", "/uploads/" + key)
        # One that fails leaves the upload for another try.
        key = self.api.upload("bad.img", b"MZ no disk")
        job = self.api.wait_job(self.api.post("/vms", {"name": "bad", "disks": [{"image": {"upload": key}}]}))
        self.assertEqual((job["state"], job["error_code"]), ("failed", "bad-image"))
        self.assertEqual(self.api.get("/uploads/" + key)["state"], "complete")
        self.refused(404, "not-found", "GET", "/vms/bad")

    # ---- the command line ----

    def test_cli(self):
        done = self.cluster.cli("iso", "import", self.second)
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.cluster.cli("iso", "import", "server:" + self.boot, "named", "--description", "boots")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({item["name"] for item in self.api.list("/isos")}, {"second", "named"})
        done = self.cluster.cli("disk", "import", self.image, "data", "--size", "9MiB")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.api.get("/disks/data")["size"], 9 << 20)
        done = self.cluster.cli("vm", "create", "new", "--cdrom", "second", "--disk", "size=10MiB", "--memory", "64MiB")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.cluster.cli("vm", "cdrom", "new", "--iso", "named")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("named", self.cluster.cli("vm", "show", "new").stdout)
        for args, text in ((("iso", "import", self.image, "wrong"), "no ISO image"), (("iso", "import", "/nowhere.iso"), "nowhere"),
                           (("iso", "import"), "missing"),
                           (("iso", "import", self.cluster.dir + "/."), "name")):
            done = self.cluster.cli(*args)
            self.assertNotEqual(done.returncode, 0, args)
            self.assertIn(text, done.stderr)
        self.assertEqual(self.api.list("/uploads"), [])
