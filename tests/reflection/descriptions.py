"""Descriptions to tell of: three files that import each other, in a pool of their own."""

from __future__ import annotations

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool

BASE = """
name: "shop/base.proto" package: "shop"
message_type {
  name: "Base" extension_range { start: 100 end: 200 }
  nested_type { name: "Inner" field { name: "text" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING } }
}
enum_type { name: "Color" value { name: "RED" number: 0 } }
"""
EXTENSIONS = """
name: "shop/extensions.proto" package: "shop" dependency: "shop/base.proto"
extension { name: "weight" extendee: ".shop.Base" number: 120 label: LABEL_OPTIONAL type: TYPE_INT32 }
message_type {
  name: "Scope"
  extension { name: "height" extendee: ".shop.Base" number: 110 label: LABEL_OPTIONAL type: TYPE_INT32 }
}
"""
SERVICE = """
name: "shop/service.proto" package: "shop" syntax: "proto3"
dependency: "shop/base.proto" dependency: "shop/extensions.proto"
service { name: "Shop" method { name: "Buy" input_type: ".shop.Base" output_type: ".shop.Scope" } }
"""
FILES = {
    file.name: file for file in (text_format.Parse(text, FileDescriptorProto()) for text in (BASE, EXTENSIONS, SERVICE))
}


def pool() -> DescriptorPool:
    """Makes a pool with all files."""
    made = DescriptorPool()
    for file in FILES.values():
        made.Add(file)
    return made
