/* Upper bound of the decoded size of MessagePack content: DecodedSize in gem/lib/transfer/bridge/framing.rb. */
#include "transfer_native.h"

/* A row of Ruby's table, by the first byte of a value: bytes of the head, width of the big-endian size within the head,
 * the size where there is no such number, values per unit of the size (0: the size counts bytes), bytes of memory. */
struct kind {
  uint8_t head, width, size, values;
  uint16_t cost;
};

/* call-seq: decoded_bytes(content, limit, table) -> Integer, or nil for content that Ruby then refuses with a reason */
static VALUE decoded_bytes(VALUE native, VALUE content, VALUE limit, VALUE table) {
  struct kind kinds[256];
  const unsigned char *bytes = (const unsigned char *)StringValuePtr(content);
  const uint64_t end = (uint64_t)RSTRING_LEN(content), maximum = NUM2ULL(limit);
  uint64_t position = 0, pending = 1, total = 0; /* `pending`: values to come, each of at least one byte */
  if (RSTRING_LEN(StringValue(table)) != sizeof kinds) rb_raise(rb_eArgError, "a table of another size");
  memcpy(kinds, RSTRING_PTR(table), sizeof kinds);
  while (pending > 0) {
    if (pending > end - position) return Qnil;
    const struct kind *kind = &kinds[bytes[position]];
    if (kind->head > end - position) return Qnil;
    uint64_t size = kind->size;
    for (int i = 1; i <= kind->width; i++) size = size << 8 | bytes[position + i];
    position += kind->head;
    pending += kind->values * size - 1;
    if (kind->values == 0) {
      if (size > end - position) return Qnil;
      position += size;
    }
    total += kind->cost;
    if (total > maximum) return Qnil;
  }
  RB_GC_GUARD(content);
  return position == end ? ULL2NUM(total) : Qnil;
}

void init_decoded_size(VALUE native) { rb_define_singleton_method(native, "decoded_bytes", decoded_bytes, 3); }
