/* Transfer::Native: what gem/lib/transfer/numbers.rb, bridge/sizes.rb and bridge/arena.rb do, faster.
 * Nothing here holds memory that Ruby does not know of: results are Strings and Arrays, a mapping belongs to its
 * object. So an exception may leave any function at any point. */
#ifndef TRANSFER_NATIVE_H
#define TRANSFER_NATIVE_H

#include <ruby.h>
#include <stdbool.h>
#include <stdint.h>

enum dtype { FLOAT32, FLOAT64, INT64, UINT8, DTYPES };

extern const char *const dtype_names[DTYPES];
extern const size_t item_bytes[DTYPES];

/* The Ruby half, which knows every error message: Transfer::Numbers. */
extern VALUE numbers;

enum dtype dtype_of(VALUE name);

/* How many numbers a shape of Ruby Integers holds; raises if they take more than a size_t of bytes. */
size_t count_of(VALUE shape, enum dtype dtype);

/* The memory of a String, or of a mapping that is still there. Valid while `holder` is on the stack. */
const char *memory_of(VALUE holder, size_t *bytes);

/* Someone points into a mapping: it stays as long as its object, whatever is said to it. */
void keep_memory(VALUE holder);

void init_numbers(VALUE native);
void init_mapping(VALUE native);
void init_views(VALUE native);
void init_sizes(VALUE native);

#endif
