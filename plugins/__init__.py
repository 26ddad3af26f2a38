"""The bundled plugins: one file each, loaded by the same road as anyone's. Copy one to write your own."""
