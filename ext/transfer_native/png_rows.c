/* The filters of PNG's rows (RFC 2083, section 6). */
#include "transfer_native.h"

static inline uint8_t paeth(int left, int above, int corner) {
  int estimate = left + above - corner;
  int to_left = abs(estimate - left), to_above = abs(estimate - above), to_corner = abs(estimate - corner);
  if (to_left <= to_above && to_left <= to_corner) return (uint8_t)left;
  return (uint8_t)(to_above <= to_corner ? above : corner);
}

/* `above` is the row before, or zeros. */
static void unfilter_row(int filter, uint8_t *row, const uint8_t *above, size_t size, size_t pixel) {
  for (size_t i = 0; i < size; i++) {
    uint8_t left = i < pixel ? 0 : row[i - pixel], corner = i < pixel ? 0 : above[i - pixel];
    switch (filter) {
    case 1: row[i] += left; break;
    case 2: row[i] += above[i]; break;
    case 3: row[i] += (uint8_t)((left + above[i]) / 2); break;
    case 4: row[i] += paeth(left, above[i], corner); break;
    }
  }
}

/* call-seq: unfilter(rows, row_bytes, pixel_bytes) -> String, or nil for an unknown filter. Each row begins with its
 * filter. */
static VALUE unfilter(VALUE native, VALUE rows, VALUE row_bytes, VALUE pixel_bytes) {
  Check_Type(rows, T_STRING);
  size_t size = NUM2SIZET(row_bytes), pixel = NUM2SIZET(pixel_bytes), total = (size_t)RSTRING_LEN(rows);
  if (size == 0 || size >= SIZE_MAX - 1 || pixel == 0 || total % (size + 1)) rb_raise(rb_eArgError, "rows of another size");
  size_t height = total / (size + 1);
  VALUE result = rb_str_new(NULL, (long)(height * size)), zeros = rb_str_new(NULL, (long)size);
  memset(RSTRING_PTR(zeros), 0, size);
  const uint8_t *from = (const uint8_t *)RSTRING_PTR(rows), *above = (const uint8_t *)RSTRING_PTR(zeros);
  uint8_t *row = (uint8_t *)RSTRING_PTR(result);
  for (size_t y = 0; y < height; y++, from += size + 1, above = row, row += size) {
    if (from[0] > 4) return Qnil;
    memcpy(row, from + 1, size);
    unfilter_row(from[0], row, above, size, pixel);
  }
  RB_GC_GUARD(rows);
  RB_GC_GUARD(zeros);
  return result;
}

void init_png_rows(VALUE native) { rb_define_singleton_method(native, "unfilter", unfilter, 3); }
