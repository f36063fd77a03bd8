# frozen_string_literal: true

# Transfer of numbers between Ruby and the worker: durations, and ratios to the alternatives.
#   ruby -I gem/lib benchmarks/numbers.rb
# Everything is measured in one run, one after the other in turns, as CPU time of this process or, where two processes
# take part, as time on the wall; the fastest of several. Needs a checkout whose part in C is built.

require "transfer"

ROOT = File.expand_path("..", __dir__)
BRIDGE = Transfer.const_get(:Bridge)
NATIVE = Transfer.const_get(:Native)
RUBY = Transfer.const_get(:Numbers)
BLOCK = 50 * 1024 * 1024

def seconds(clock)
  started = Process.clock_gettime(clock)
  yield
  Process.clock_gettime(clock) - started
end

# @return [Hash{String => Float}] milliseconds, the fastest of `rounds`
def race(clock: Process::CLOCK_PROCESS_CPUTIME_ID, rounds: 7, **runners)
  rounds.times.with_object({}) do |_, fastest|
    runners.each do |name, runner|
      GC.start
      GC.disable
      took = seconds(clock, &runner) * 1000
      fastest[name] = [fastest[name], took].compact.min
    ensure
      GC.enable
    end
  end
end

def show(title, times)
  puts title
  first = times.values.first
  times.each { |name, ms| puts format("  %-44s %9.2f ms %7.1f x", name.to_s.tr("_", " "), ms, ms / first) }
end

def worker
  path = [File.join(ROOT, "python"), File.join(ROOT, "tests")].join(":")
  python = ENV.fetch("TRANSFER_PYTHON", File.join(ROOT, ".venv/bin/python"))
  launch = BRIDGE::LaunchOptions.new(
    command: [python, File.join(ROOT, "benchmarks/numbers_worker.py")], env: ENV.to_h.merge("PYTHONPATH" => path)
  )
  BRIDGE::Pool::Worker.new { launch }
end

random = Random.new(1)
rows = Array.new(1000) { Array.new(1000) { random.rand } }
packed = rows.flatten.pack("e*").freeze
target = "\0".b * packed.bytesize
arena = BRIDGE::SharedMemory::Arena.new(BRIDGE::SharedMemory::Arena.file)
share = ->(tensor) { arena.free(arena.write(tensor.bytes)) }
share.call(Transfer::Tensor.from(packed))
written = BRIDGE::SharedMemory::Arena.file.tap { |file| file.pwrite(packed, 0) }

show "1M floats, nested Ruby Arrays to packed float32", race(
  in_C: -> { NATIVE.pack(rows, "float32", true) },
  in_Ruby: -> { RUBY.pack(rows, "float32", true) },
  "flatten.pack, unchecked": -> { rows.flatten.pack("e*") }
)
show "1M packed float32 to nested Ruby Arrays", race(
  in_C: -> { NATIVE.unpack(packed, "float32", [1000, 1000]) },
  in_Ruby: -> { RUBY.unpack(packed, "float32", [1000, 1000]) }
)
show "1M floats in a packed String, into shared memory", race(
  rounds: 30, memcpy: -> { target.bytesplice(0, packed.bytesize, packed) },
  "write(2) alone": -> { written.pwrite(packed, 0) },
  from_the_String: -> { share.call(Transfer::Tensor.from(packed)) }
)

other = worker
ask = ->(name, **params) { other.call(name, params.transform_keys(&:to_s)).value(60) }
ask.call("sum", numbers: Transfer::Tensor.from(packed))
wall = Process::CLOCK_MONOTONIC
show "1M floats to the worker and its sum back (wall)", race(
  clock: wall, packed_String: -> { ask.call("sum", numbers: Transfer::Tensor.from(packed)) },
  nested_Arrays: -> { ask.call("sum", numbers: Transfer::Tensor.from(rows)) },
  list_in_MessagePack: -> { ask.call("sum_list", numbers: rows) }
)

show "8 embeddings tensors of 50 MB to Ruby (wall)", race(
  clock: wall, rounds: 3,
  mapped: -> { 8.times { ask.call("numbers", bytes: BLOCK, way: "memory").release } },
  through_the_socket: -> { 8.times { ask.call("numbers", bytes: BLOCK, way: "socket") } }
)
show "one of 400 MB, beside as many bytes through the socket (wall)", race(
  clock: wall, rounds: 3,
  mapped: -> { ask.call("numbers", bytes: 8 * BLOCK, way: "memory").release },
  through_the_socket: -> { 8.times { ask.call("numbers", bytes: BLOCK, way: "socket") } }
)

puts "Break-even of shared memory and socket (wall, per tensor)"
[16, 64, 128, 256, 512, 1024, 4096].each do |kib|
  times = race(
    clock: wall, rounds: 5,
    memory: -> { 40.times { ask.call("numbers", bytes: kib * 1024, way: "memory").release } },
    socket: -> { 40.times { ask.call("numbers", bytes: kib * 1024, way: "socket") } }
  ).transform_values { |ms| ms / 40 }
  puts format("  %5d KiB  memory %7.3f ms  socket %7.3f ms  %5.1f x", kib, *times.values,
              times[:socket] / times[:memory])
end
other.stop
