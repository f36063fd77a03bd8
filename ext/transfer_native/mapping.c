/* Memory shared with the worker: a file without a name that can't be truncated, and mappings of its blocks.
 * The first eight bytes of a block are the number of its bytes in use. The receiver writes 0 when it is done; then the
 * sender uses the block again (docs/reference/protocol.md, "Shared memory"). */
#include "transfer_native.h"
#include <fcntl.h>
#include <pthread.h>
#include <ruby/io.h>
#include <ruby/io/buffer.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES 64

struct mapping {
  char *start; /* NULL once it was released */
  size_t bytes;
  pid_t owner;
  unsigned forks;
  bool exported; /* other code points into it: it stays until the object is freed */
};

/* A forked child has mapped the block as well, for its whole life: then the block is never freed. */
static unsigned forks;

static void count_fork(void) { forks++; }

static void unmap(struct mapping *mapping) {
  if (!mapping->start) return;
  if (mapping->owner == getpid() && mapping->forks == forks)
    __atomic_store_n((uint64_t *)mapping->start, 0, __ATOMIC_RELEASE);
  munmap(mapping->start, HEADER_BYTES + mapping->bytes);
  rb_gc_adjust_memory_usage(-(ssize_t)mapping->bytes);
  mapping->start = NULL;
}

static void free_mapping(void *data) {
  unmap(data);
  ruby_xfree(data);
}

static const rb_data_type_t mapping_type = {
    .wrap_struct_name = "Transfer::Native::Mapping",
    .function = {.dfree = free_mapping},
    .flags = RUBY_TYPED_FREE_IMMEDIATELY | RUBY_TYPED_WB_PROTECTED,
};

static struct mapping *mapping_of(VALUE self) {
  struct mapping *mapping;
  TypedData_Get_Struct(self, struct mapping, &mapping_type, mapping);
  if (!mapping->start) rb_raise(rb_eArgError, "this memory was given back");
  return mapping;
}

const char *memory_of(VALUE holder, size_t *bytes) {
  if (RB_TYPE_P(holder, T_STRING)) {
    *bytes = (size_t)RSTRING_LEN(holder);
    return RSTRING_PTR(holder);
  }
  struct mapping *mapping = mapping_of(holder);
  *bytes = mapping->bytes;
  return mapping->start + HEADER_BYTES;
}

static bool never_shrinks(int descriptor) {
#ifdef F_GET_SEALS
  int seals = fcntl(descriptor, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK);
#else
  return false;
#endif
}

/* call-seq: map(file, offset, bytes) -> Mapping, or nil for a file that could be truncated
 * The block must lie within the file and have that number of bytes in use; the caller has checked that. */
static VALUE map(VALUE native, VALUE file, VALUE offset, VALUE bytes) {
  int descriptor = rb_io_descriptor(file);
  off_t begin = NUM2OFFT(offset);
  size_t size = NUM2SIZET(bytes);
  struct stat stat;
  if (!never_shrinks(descriptor)) return Qnil;
  if (fstat(descriptor, &stat) < 0) rb_sys_fail("fstat");
  if (begin < 0 || begin > stat.st_size || size > (size_t)(stat.st_size - begin) ||
      size + HEADER_BYTES > (size_t)(stat.st_size - begin))
    rb_raise(rb_eArgError, "a block beyond the end of its file");

  struct mapping *mapping;
  VALUE self = TypedData_Make_Struct(rb_const_get(native, rb_intern("Mapping")), struct mapping, &mapping_type, mapping);
  void *start = mmap(NULL, HEADER_BYTES + size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, begin);
  if (start == MAP_FAILED) rb_sys_fail("mmap");
  *mapping = (struct mapping){.start = start, .bytes = size, .owner = getpid(), .forks = forks};
  rb_gc_adjust_memory_usage((ssize_t)size);
  return self;
}

/* A copy of the bytes. */
static VALUE to_s(VALUE self) {
  struct mapping *mapping = mapping_of(self);
  VALUE copy = rb_str_new(mapping->start + HEADER_BYTES, (long)mapping->bytes);
  RB_GC_GUARD(self);
  return copy;
}

static VALUE bytesize(VALUE self) { return SIZET2NUM(mapping_of(self)->bytes); }

/* An IO::Buffer over the memory itself, which keeps it mapped. */
static VALUE to_io_buffer(VALUE self) {
  struct mapping *mapping = mapping_of(self);
  VALUE buffer = rb_io_buffer_new(mapping->start + HEADER_BYTES, mapping->bytes,
                                  RB_IO_BUFFER_EXTERNAL | RB_IO_BUFFER_READONLY);
  rb_ivar_set(buffer, rb_intern("@memory"), self);
  mapping->exported = true;
  return buffer;
}

/* Releases the memory, unless other code points into it. */
static VALUE release(VALUE self) {
  struct mapping *mapping;
  TypedData_Get_Struct(self, struct mapping, &mapping_type, mapping);
  if (!mapping->exported) unmap(mapping);
  return Qnil;
}

void keep_memory(VALUE holder) {
  if (!RB_TYPE_P(holder, T_STRING)) mapping_of(holder)->exported = true;
}

/* call-seq: anonymous_file -> descriptor, or nil if the system has no memfd that can be sealed */
static VALUE anonymous_file(VALUE native) {
#if defined(HAVE_MEMFD_CREATE) && defined(F_ADD_SEALS)
  int descriptor = memfd_create("transfer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return Qnil;
  rb_update_max_fd(descriptor);
  fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK);
  return INT2NUM(descriptor);
#else
  return Qnil;
#endif
}

void init_mapping(VALUE native) {
  VALUE mapping = rb_define_class_under(native, "Mapping", rb_cObject);
  rb_undef_alloc_func(mapping);
  rb_define_method(mapping, "to_s", to_s, 0);
  rb_define_method(mapping, "bytesize", bytesize, 0);
  rb_define_method(mapping, "to_io_buffer", to_io_buffer, 0);
  rb_define_method(mapping, "release", release, 0);
  rb_define_singleton_method(native, "map", map, 3);
  rb_define_singleton_method(native, "anonymous_file", anonymous_file, 0);
  pthread_atfork(count_fork, NULL, NULL);
}
