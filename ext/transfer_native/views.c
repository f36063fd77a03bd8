/* MemoryView, Ruby's protocol for arrays in memory: a Tensor exports its own and copies those of other objects. */
#include "transfer_native.h"
#include <ruby/memory_view.h>

/* A short String is embedded in its object, which the garbage collector may move. */
#define CERTAINLY_APART 4096

static const char *const formats[DTYPES] = {"e", "E", "q<", "C"};

/* The data of a view is one allocation: shape, strides, and bytes that could move. */
static bool show(VALUE tensor, rb_memory_view_t *view, int flags) {
  if (flags & RUBY_MEMORY_VIEW_WRITABLE) return false;
  VALUE holder = rb_ivar_get(tensor, rb_intern("@memory"));
  VALUE shape = rb_ivar_get(tensor, rb_intern("@shape"));
  enum dtype dtype = dtype_of(rb_ivar_get(tensor, rb_intern("@dtype")));
  size_t bytes;
  const char *memory = memory_of(holder, &bytes);
  bool copied = RB_TYPE_P(holder, T_STRING) && bytes < CERTAINLY_APART;
  long depth = RARRAY_LEN(shape);
  size_t sides = (size_t)depth * sizeof(ssize_t);

  char *room = ruby_xmalloc(2 * sides + (copied ? bytes : 0) + 1);
  ssize_t *lengths = (ssize_t *)room, *strides = lengths + depth;
  for (long level = 0; level < depth; level++) lengths[level] = NUM2SSIZET(rb_ary_entry(shape, level));
  rb_memory_view_fill_contiguous_strides(depth, (ssize_t)item_bytes[dtype], lengths, true, strides);
  if (copied) memory = memcpy(room + 2 * sides, memory, bytes);
  keep_memory(holder);

  *view = (rb_memory_view_t){
      .obj = tensor,
      .data = (void *)memory,
      .byte_size = (ssize_t)bytes,
      .readonly = true,
      .format = formats[dtype],
      .item_size = (ssize_t)item_bytes[dtype],
      .ndim = depth,
      .shape = lengths,
      .strides = strides,
      .private_data = room,
  };
  RB_GC_GUARD(holder);
  return true;
}

static bool forget(VALUE tensor, rb_memory_view_t *view) {
  ruby_xfree(view->private_data);
  return true;
}

static bool can_show(VALUE tensor) { return true; }

static const rb_memory_view_entry_t tensor_view = {show, forget, can_show};

static VALUE copy_view(VALUE argument) {
  const rb_memory_view_t *view = (const rb_memory_view_t *)argument;
  bool row_major = !view->strides || rb_memory_view_is_row_major_contiguous(view);
  VALUE shape = rb_ary_new();
  if (view->shape)
    for (ssize_t level = 0; level < view->ndim; level++) rb_ary_push(shape, SSIZET2NUM(view->shape[level]));
  else
    rb_ary_push(shape, SSIZET2NUM(view->byte_size / view->item_size));
  VALUE bytes = row_major ? rb_str_new(view->data, view->byte_size) : Qnil;
  return rb_ary_new_from_args(3, view->format ? rb_str_new_cstr(view->format) : Qnil, shape, bytes);
}

static VALUE release_view(VALUE argument) {
  rb_memory_view_release((rb_memory_view_t *)argument);
  return Qnil;
}

/* call-seq: view(object) -> [format, shape, bytes], or nil if it has no view; bytes are nil unless row-major */
static VALUE view(VALUE native, VALUE object) {
  rb_memory_view_t view;
  if (!rb_memory_view_available_p(object)) return Qnil;
  if (!rb_memory_view_get(object, &view, RUBY_MEMORY_VIEW_FORMAT | RUBY_MEMORY_VIEW_STRIDES)) return Qnil;
  return rb_ensure(copy_view, (VALUE)&view, release_view, (VALUE)&view);
}

void init_views(VALUE native) {
  rb_define_singleton_method(native, "view", view, 1);
  rb_memory_view_register(rb_path2class("Transfer::Tensor"), &tensor_view);
}
