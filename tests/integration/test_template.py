# SPDX-License-Identifier: Apache-2.0
"""Templates and disks: import of every format, refusals, clones, golden images; template_create, template_list,
template_show, template_change, template_delete, disk_create, disk_list, disk_show, disk_change, disk_delete."""

import os
import subprocess

import cluster
import rest


def qemu_img(*args):
    subprocess.run(["qemu-img", *args], check=True, capture_output=True)


class Templates(cluster.ClusterCase):
    @classmethod
    def prepare(cls):
        cls.files = os.path.join(cls.cluster.dir, "images")
        os.mkdir(cls.files)
        cls.raw = cls.path("disk.raw")
        with open(cls.raw, "wb") as f:
            f.write(b"TARN-TEST-DISK\n" * 4096)
            f.truncate(24 << 20)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.files, name)

    def content(self, name):
        """The first bytes of a VM's disk, seen from inside."""
        with self.cluster.console(name) as console:
            console.prompt()
            return console.command("head -c 15 /dev/vda")[0]

    def bad_image(self, name, path, code="bad-image", **more):
        with self.assertRaises((rest.JobFailed, rest.ApiError)) as failed:
            self.api.do("/templates", {"name": name, "image": {"path": path, **more}})
        self.assertEqual(failed.exception.code, code, failed.exception)
        self.refused(404, "not-found", "GET", "/templates/" + name)
        return failed.exception.message

    def test_import_of_each_format(self):
        c = self.cluster
        formats = {"raw": ("raw", []), "qcow2": ("qcow2", []), "vmdk": ("vmdk", []), "vdi": ("vdi", []),
                   "vhdx": ("vhdx", []), "vhd": ("vpc", ["-o", "subformat=dynamic,force_size=on"])}
        for name, (driver, options) in formats.items():
            with self.subTest(name):
                path = self.path("disk." + name)
                if name != "raw":
                    qemu_img("convert", "-f", "raw", "-O", driver, *options, self.raw, path)
                job = self.api.do("/templates", {"name": "t-" + name, "image": {"path": path, "format": name}})
                self.assertEqual(job["progress"], 100)
                template = self.api.get("/templates/t-" + name)
                self.assertEqual(template["state"], "ready")
                self.assertEqual(template["disks"][0]["size"], 24 << 20)
                # Seen by the guest as it was written. (The kernel comes with the template "tiny".)
                stored = os.path.join(c.agent.repository, "templates", template["id"])
                file = next(os.path.join(stored, f) for f in os.listdir(stored) if f.startswith("disk-0"))
                qemu_img("compare", "-f", "qcow2", "-F", "raw", file, self.raw)
                self.assertEqual(os.stat(file).st_mode & 0o222, 0, "a sealed template is read-only")
                self.api.remove("/templates/t-" + name)

    def test_format_is_recognized(self):
        for name in ("qcow2", "vmdk", "vdi", "vhdx"):
            path = self.path("auto." + name)
            qemu_img("convert", "-f", "raw", "-O", name, self.raw, path)
            self.api.do("/templates", {"name": "auto-" + name, "image": {"path": path}})
            self.assertEqual(self.api.get("/templates/auto-" + name)["disks"][0]["size"], 24 << 20)
            self.api.remove("/templates/auto-" + name)

    def test_images_that_are_refused(self):
        before = self.cluster.agent.repository_files()
        truncated = self.path("truncated.qcow2")
        qemu_img("convert", "-f", "raw", "-O", "qcow2", self.raw, truncated)
        with open(truncated, "r+b") as f:
            f.truncate(os.path.getsize(truncated) // 2)
        self.bad_image("truncated", truncated)

        backed = self.path("backed.qcow2")
        qemu_img("create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", backed, "1M")
        self.assertIn("back", self.bad_image("backed", backed).lower())

        external = self.path("external.qcow2")
        qemu_img("create", "-f", "qcow2", "-o", f"data_file={self.path('data')}", external, "1M")
        self.bad_image("external", external)

        descriptor = self.path("descriptor.vmdk")
        with open(descriptor, "w") as f:
            f.write('# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicFlat"\n\n'
                    'RW 2048 FLAT "/etc/passwd" 0\n')
        self.bad_image("descriptor", descriptor)

        huge = self.path("huge.qcow2")
        qemu_img("create", "-f", "qcow2", huge, "1M")
        with open(huge, "r+b") as f:
            f.seek(24)
            f.write((1 << 63).to_bytes(8, "big"))
        self.bad_image("huge", huge)

        text = self.path("notes.txt")
        with open(text, "w") as f:
            f.write("This is not a disk image.\n" * 100)
        self.bad_image("text", text)
        self.bad_image("lies", self.raw, format="qcow2")

        self.bad_image("absent", self.path("absent.raw"), code="not-found")
        self.assertEqual(self.cluster.agent.repository_files(), before, "a refused import leaves nothing")

    def test_linked_and_full_clones(self):
        c = self.cluster
        disk = self.path("boot.qcow2")
        qemu_img("convert", "-f", "raw", "-O", "qcow2", self.raw, disk)
        self.api.do("/templates", {"name": "golden", "image": {"path": disk}, "machine": "microvm", "memory": 96 << 20})
        linked = c.vm("linked", start=False, template="golden", clone="linked")
        full = c.vm("full", start=False, template="golden", clone="full")
        linked_disk = self.api.get("/disks/" + linked["disks"][0]["disk"])
        full_disk = self.api.get("/disks/" + full["disks"][0]["disk"])
        self.assertEqual(self.api.get("/templates/golden")["id"], linked_disk["template"])
        self.assertEqual(full_disk.get("template", ""), "")
        self.assertLess(linked_disk["allocated"], 1 << 20)
        error = self.refused(409, "in-use", "DELETE", "/templates/golden")
        self.assertIn("linked", error["message"])
        self.assertNotIn("full", error["message"])
        self.api.remove("/vms/linked")
        self.api.remove("/templates/golden")
        # The full copy lives on without its template.
        file = os.path.join(c.agent.repository, "disks", full["disks"][0]["disk"] + ".qcow2")
        qemu_img("compare", "-f", "qcow2", "-F", "raw", file, self.raw)
        self.api.remove("/vms/full")
        self.assertFalse(os.path.exists(file))

    def test_golden_image(self):
        c = self.cluster
        c.vm("source", disks=[{"size": 8 << 20}])
        with c.console("source") as console:
            console.prompt()
            console.command("echo GOLDEN >/dev/vda; sync")
        self.refused(409, "conflict", "POST", "/templates", {"name": "gold", "from_vm": "source"})
        self.api.do("/vms/source/stop", {"timeout": 30})
        self.api.do("/templates", {"name": "gold", "from_vm": "source"}, timeout=120)
        self.api.remove("/vms/source")
        template = self.api.get("/templates/gold")
        self.assertEqual((len(template["disks"]), template["kernel"]), (1, True))
        for name in ("copy1", "copy2"):
            c.vm(name, template="gold")
        with c.console("copy1") as one, c.console("copy2") as two:
            for console in (one, two):
                console.prompt()
                self.assertEqual(console.command("head -n1 /dev/vda")[0], "GOLDEN\n")
            one.command("echo CHANGED >/dev/vda; sync")
            self.assertEqual(two.command("head -n1 /dev/vda")[0], "GOLDEN\n", "clones don't see each other's writes")
        error = self.refused(409, "in-use", "DELETE", "/templates/gold")
        self.assertIn("copy1", error["message"])
        self.assertIn("copy2", error["message"])
        for name in ("copy1", "copy2"):
            self.api.do(f"/vms/{name}/kill")
            self.api.remove(f"/vms/{name}")
        self.api.remove("/templates/gold")

    def test_template_list_show_change(self):
        changed = self.api.patch("/templates/tiny", {"description": "small", "tags": ["test"]})
        self.assertEqual(changed["description"], "small")
        self.assertIn("tiny", [t["name"] for t in self.api.list("/templates")])
        self.assertEqual(self.api.get("/templates/tiny")["tags"], ["test"])
        self.refused(400, "invalid", "PATCH", "/templates/tiny", {"kernel": False})

    def test_disks(self):
        self.api.do("/disks", {"name": "data", "size": 64 << 20})
        disk = self.api.get("/disks/data")
        self.assertEqual((disk["state"], disk["size"]), ("ready", 64 << 20))
        self.assertEqual(self.api.patch("/disks/data", {"name": "data2"})["id"], disk["id"])
        self.cluster.vm("user", start=False, disks=[{"disk": "data2"}])
        error = self.refused(409, "in-use", "DELETE", "/disks/data2")
        self.assertIn("user", error["message"])
        # Two VMs can't have one disk.
        answer = self.api.raw("POST", "/vms", {"name": "thief", "template": "tiny", "disks": [{"disk": "data2"}]})
        self.assertEqual(answer.status, 409, answer.data)
        self.api.remove("/vms/user")
        if [d for d in self.api.list("/disks") if d["name"] == "data2"]:
            self.api.remove("/disks/data2")
        self.assertEqual(self.api.list("/disks"), [])

    def test_upload(self):
        with open(self.raw, "rb") as f:
            data = f.read()
        key = self.api.upload("disk.raw", data)
        self.assertEqual(self.api.get("/uploads/" + key)["state"], "complete")
        self.api.do("/templates", {"name": "up", "image": {"upload": key, "format": "raw"}})
        self.assertEqual(self.api.get("/templates/up")["disks"][0]["size"], 24 << 20)
        self.api.remove("/templates/up")
        if self.api.list("/uploads"):
            self.api.remove("/uploads/" + key)
        self.assertEqual(self.api.list("/uploads"), [])
