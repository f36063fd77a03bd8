/* Nested Arrays to packed little-endian numbers and back. */
#include "transfer_native.h"
#include <float.h>
#include <math.h>

#define DEEPEST 32

const char *const dtype_names[DTYPES] = {"float32", "float64", "int64", "uint8"};
const size_t item_bytes[DTYPES] = {4, 8, 8, 1};
VALUE numbers;

enum dtype dtype_of(VALUE name) {
  const char *given = StringValueCStr(name);
  for (int dtype = 0; dtype < DTYPES; dtype++)
    if (strcmp(given, dtype_names[dtype]) == 0) return dtype;
  rb_raise(rb_eArgError, "unknown dtype %s", given);
}

size_t count_of(VALUE shape, enum dtype dtype) {
  size_t count = 1;
  for (long level = 0; level < RARRAY_LEN(shape); level++)
    if (__builtin_mul_overflow(count, NUM2SIZET(rb_ary_entry(shape, level)), &count)) count = SIZE_MAX;
  if (count > (size_t)LONG_MAX / item_bytes[dtype]) rb_raise(rb_eArgError, "a shape of too many numbers");
  return count;
}

struct packing {
  enum dtype dtype;
  bool allow_nan;
  int depth;
  long shape[DEEPEST];
  long place[DEEPEST]; /* indices of the current element, for error messages */
  VALUE buffer;        /* of the final size from the start, and hidden from Ruby */
  size_t filled;
};

static VALUE place(const struct packing *packing, int depth) {
  VALUE list = rb_ary_new_capa(depth);
  for (int level = 0; level < depth; level++) rb_ary_push(list, LONG2NUM(packing->place[level]));
  return list;
}

static VALUE shape_list(const struct packing *packing) {
  VALUE list = rb_ary_new_capa(packing->depth);
  for (int level = 0; level < packing->depth; level++) rb_ary_push(list, LONG2NUM(packing->shape[level]));
  return list;
}

/* Ruby's result for an element that is not a plain number: another number, or an exception. Everything that was read
 * from an array before may be different afterwards. */
static VALUE ask_ruby(const struct packing *packing, VALUE item) {
  return rb_funcall(numbers, rb_intern("number"), 4, item, rb_str_new_cstr(dtype_names[packing->dtype]),
                    packing->allow_nan ? Qtrue : Qfalse, place(packing, packing->depth));
}

/* Like Array#pack: values beyond the largest float32 become infinite, and there is one NaN. */
static inline float as_float32(double wide) {
  if (RB_LIKELY(fabs(wide) <= FLT_MAX)) return (float)wide;
  if (isnan(wide)) return NAN;
  return wide > 0 ? INFINITY : -INFINITY;
}

static inline bool put_float(VALUE item, char *to, bool single, bool allow_nan) {
  double wide;
  if (RB_FLONUM_P(item) || RB_FLOAT_TYPE_P(item))
    wide = RFLOAT_VALUE(item);
  else if (FIXNUM_P(item))
    wide = (double)FIX2LONG(item);
  else
    return false;
  float narrow = as_float32(wide);
  if (!allow_nan && !isfinite(single ? (double)narrow : wide)) return false;
  if (single)
    memcpy(to, &narrow, sizeof narrow);
  else
    memcpy(to, &wide, sizeof wide);
  return true;
}

static inline bool put_integer(VALUE item, char *to, bool byte) {
  if (!FIXNUM_P(item)) return false;
  int64_t whole = FIX2LONG(item);
  if (byte && (whole < 0 || whole > 255)) return false;
  memcpy(to, &whole, byte ? 1 : sizeof whole); /* little-endian: the lowest byte first */
  return true;
}

/* Writes the leading elements that need no call of Ruby code; returns their number. */
static long put_plain(struct packing *packing, const VALUE *items, long count) {
  char *to = RSTRING_PTR(packing->buffer) + packing->filled;
  const bool allow_nan = packing->allow_nan;
  long i = 0;
  switch (packing->dtype) {
  case FLOAT32: while (i < count && put_float(items[i], to + i * 4, true, allow_nan)) i++; break;
  case FLOAT64: while (i < count && put_float(items[i], to + i * 8, false, allow_nan)) i++; break;
  case INT64: while (i < count && put_integer(items[i], to + i * 8, false)) i++; break;
  default: while (i < count && put_integer(items[i], to + i, true)) i++;
  }
  packing->filled += (size_t)i * item_bytes[packing->dtype];
  return i;
}

static void put_with_help(struct packing *packing, VALUE item) {
  VALUE number = ask_ruby(packing, item);
  if (packing->dtype == INT64 && RB_TYPE_P(number, T_BIGNUM)) { /* beyond a Fixnum, within 64 bits */
    int64_t whole = NUM2LL(number);
    memcpy(RSTRING_PTR(packing->buffer) + packing->filled, &whole, sizeof whole);
    packing->filled += sizeof whole;
  } else if (put_plain(packing, &number, 1) == 0) {
    rb_raise(rb_eTypeError, "Transfer::Numbers.number gave no plain number");
  }
}

static void pack_numbers(struct packing *packing, VALUE row, long expected) {
  for (long i = 0; i < expected; i++) {
    if (RARRAY_LEN(row) != expected) rb_funcall(numbers, rb_intern("refuse_change"), 0);
    i += put_plain(packing, RARRAY_CONST_PTR(row) + i, expected - i);
    if (i == expected) break;
    packing->place[packing->depth - 1] = i;
    put_with_help(packing, RARRAY_AREF(row, i));
  }
  RB_GC_GUARD(row);
}

static void expect_row(const struct packing *packing, VALUE item, int level) {
  if (RB_TYPE_P(item, T_ARRAY) && RARRAY_LEN(item) == packing->shape[level]) return;
  rb_funcall(numbers, rb_intern("refuse_row"), 3, item, LONG2NUM(packing->shape[level]), place(packing, level));
}

static void pack_level(struct packing *packing, VALUE row, int level) {
  long expected = packing->shape[level];
  if (level + 1 == packing->depth) return pack_numbers(packing, row, expected);
  for (long i = 0; i < expected; i++) {
    if (RARRAY_LEN(row) != expected) rb_funcall(numbers, rb_intern("refuse_change"), 0);
    VALUE item = RARRAY_AREF(row, i);
    packing->place[level] = i;
    expect_row(packing, item, level + 1);
    pack_level(packing, item, level + 1);
  }
  RB_GC_GUARD(row);
}

/* call-seq: pack(array, dtype, allow_nan) -> [bytes, shape] */
static VALUE pack(VALUE self, VALUE array, VALUE dtype, VALUE allow_nan) {
  struct packing packing = {.dtype = dtype_of(dtype), .allow_nan = RTEST(allow_nan)};
  for (VALUE level = array; RB_TYPE_P(level, T_ARRAY); level = RARRAY_AREF(level, 0)) {
    if (packing.depth == DEEPEST) rb_funcall(numbers, rb_intern("refuse_depth"), 0);
    packing.shape[packing.depth++] = RARRAY_LEN(level);
    if (RARRAY_LEN(level) == 0) break;
  }
  VALUE shape = shape_list(&packing);
  rb_funcall(numbers, rb_intern("check_size"), 2, shape, dtype);
  size_t bytes = count_of(shape, packing.dtype) * item_bytes[packing.dtype];
  packing.buffer = rb_str_tmp_new((long)bytes);
  if (packing.depth > 0)
    pack_level(&packing, array, 0);
  else if (put_plain(&packing, &array, 1) == 0)
    put_with_help(&packing, array);
  RB_GC_GUARD(packing.buffer);
  rb_obj_reveal(packing.buffer, rb_cString);
  return rb_assoc_new(packing.buffer, shape);
}

struct unpacking {
  enum dtype dtype;
  VALUE shape;
  const char *next;
};

static VALUE take(struct unpacking *unpacking) {
  float narrow;
  double wide;
  int64_t whole;
  const char *at = unpacking->next;
  unpacking->next += item_bytes[unpacking->dtype];
  switch (unpacking->dtype) {
  case FLOAT32: memcpy(&narrow, at, sizeof narrow); return DBL2NUM(narrow);
  case FLOAT64: memcpy(&wide, at, sizeof wide); return DBL2NUM(wide);
  case INT64: memcpy(&whole, at, sizeof whole); return LL2NUM(whole);
  default: return INT2FIX(*(const unsigned char *)at);
  }
}

static VALUE unpack_numbers(struct unpacking *unpacking, long length) {
  VALUE row = rb_ary_new_capa(length), some[256];
  for (long done = 0; done < length;) {
    long count = length - done < 256 ? length - done : 256;
    for (long i = 0; i < count; i++) some[i] = take(unpacking); /* on the stack, visible to the GC */
    rb_ary_cat(row, some, count);
    done += count;
  }
  return row;
}

static VALUE unpack_level(struct unpacking *unpacking, long level) {
  if (level == RARRAY_LEN(unpacking->shape)) return take(unpacking);
  long length = NUM2LONG(rb_ary_entry(unpacking->shape, level));
  if (level + 1 == RARRAY_LEN(unpacking->shape)) return unpack_numbers(unpacking, length);
  VALUE row = rb_ary_new_capa(length);
  for (long i = 0; i < length; i++) rb_ary_push(row, unpack_level(unpacking, level + 1));
  return row;
}

/* call-seq: unpack(bytes, dtype, shape) -> nested Arrays, or a number for no dimensions */
static VALUE unpack(VALUE self, VALUE holder, VALUE dtype, VALUE shape) {
  Check_Type(shape, T_ARRAY);
  shape = rb_ary_new_from_values(RARRAY_LEN(shape), RARRAY_CONST_PTR(shape)); /* a copy that Ruby can't change */
  if (RB_TYPE_P(holder, T_STRING)) holder = rb_str_new_frozen(holder);
  if (RARRAY_LEN(shape) > DEEPEST) rb_funcall(numbers, rb_intern("refuse_depth"), 0);
  size_t bytes;
  struct unpacking unpacking = {.dtype = dtype_of(dtype), .shape = shape, .next = memory_of(holder, &bytes)};
  if (count_of(shape, unpacking.dtype) * item_bytes[unpacking.dtype] != bytes)
    rb_raise(rb_eArgError, "%" PRIsVALUE " does not take %" PRIuSIZE " bytes", rb_inspect(shape), bytes);
  VALUE nested = unpack_level(&unpacking, 0);
  RB_GC_GUARD(holder);
  RB_GC_GUARD(shape);
  return nested;
}

void init_numbers(VALUE native) {
  rb_gc_register_mark_object(numbers = rb_path2class("Transfer::Numbers"));
  rb_define_singleton_method(native, "pack", pack, 3);
  rb_define_singleton_method(native, "unpack", unpack, 3);
}

void Init_transfer_native(void) {
  VALUE native = rb_define_module_under(rb_define_module("Transfer"), "Native");
  init_numbers(native);
  init_mapping(native);
  init_views(native);
  init_decoded_size(native);
  init_png_rows(native);
}
