/* Transfer::Native: a faster implementation of parts of gem/lib/transfer/numbers.rb, bridge/framing.rb,
 * bridge/shared_memory.rb and onnx/image/png.rb. All memory belongs to Ruby objects: results are Strings and Arrays, a mapping belongs to its
 * object. So an exception may leave any function at any point. */
#ifndef TRANSFER_NATIVE_H
#define TRANSFER_NATIVE_H

#include <ruby.h>
#include <stdbool.h>
#include <stdint.h>

enum dtype { FLOAT32, FLOAT64, INT64, UINT8, DTYPES };

extern const char *const dtype_names[DTYPES];
extern const size_t item_bytes[DTYPES];

/* Transfer::Numbers, the implementation in Ruby, which has all error messages. */
extern VALUE numbers;

enum dtype dtype_of(VALUE name);

/* Number of elements of a shape of Ruby Integers; raises if their size in bytes exceeds a size_t. */
size_t count_of(VALUE shape, enum dtype dtype);

/* The memory of a String, or of a mapping that was not released. Valid while `holder` is on the stack. */
const char *memory_of(VALUE holder, size_t *bytes);

/* Marks a mapping as exported: from now on it stays as long as its object, even if it is released. */
void keep_memory(VALUE holder);

void init_numbers(VALUE native);
void init_mapping(VALUE native);
void init_views(VALUE native);
void init_decoded_size(VALUE native);
void init_png_rows(VALUE native);

#endif
