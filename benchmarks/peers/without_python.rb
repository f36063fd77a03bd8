# frozen_string_literal: true

# Predicts with an exported model: `without_python.rb parity|resources|first|threads|forks FOLDER`, for
# benchmarks/without_python.py.
STARTED = Process.clock_gettime(Process::CLOCK_MONOTONIC)
require "json"
require "open3"
require "transfer"

TASK, FOLDER = ARGV
INPUTS = JSON.parse(File.read("#{FOLDER}/inputs.json"))
MODEL = Transfer::Onnx.load("#{FOLDER}/photos.onnx")

def megabytes(field = "VmHWM") = File.read("/proc/self/status")[/#{field}:\s+(\d+)/, 1].to_i / 1024.0

def seconds = Process.clock_gettime(Process::CLOCK_MONOTONIC) - STARTED

# Of a fresh process that executes another task of this file.
def fresh(task, environment = {})
  output, error, status = Open3.capture3(environment, RbConfig.ruby, "-I", $LOAD_PATH.first, __FILE__, task, FOLDER)
  status.success? ? JSON.parse(output) : raise(error)
end

# Bytes of what an image over ruby:slim adds: gems, and shared libraries with those that they need.
def installed
  gems = %w[msgpack thor ruby-progressbar].sum { |name| size(Gem::Specification.find_by_name(name).full_gem_path) }
  own = size(File.expand_path("../../gem/lib", __dir__))
  libraries = File.read("/proc/self/maps").scan(%r{/\S+\.so[.\d]*$}).uniq.grep_v(/ruby|ld-linux|libc\.so|libm\.so/)
  { gems: gems + own, libraries: libraries.to_h { |path| [File.basename(path), File.size(path)] },
    total: gems + own + libraries.sum { |path| File.size(path) } }
end

def size(folder) = Dir["#{folder}/**/*"].select { |path| File.file?(path) }.sum { |path| File.size(path) }

found =
  case TASK
  when "parity" then MODEL.predict(INPUTS).map { |prediction| { scores: prediction.scores } }
  when "first"
    MODEL.predict(INPUTS.first)
    { seconds:, megabytes: }
  when "threads"
    Array.new(8) { |i| Thread.new { 8.times { |n| MODEL.predict(INPUTS[((8 * i) + n) % INPUTS.size]) } } }.each(&:join)
    { megabytes: }
  when "forks"
    labels = Array.new(4) do
      reader, writer = IO.pipe
      fork do
        threads = INPUTS.first(4).map { |input| Thread.new { MODEL.predict(input).label } }
        writer.puts(JSON.generate(threads.map(&:value)))
      end
      writer.close
      reader.read
    end
    { same: labels.uniq.size == 1, failed: Process.waitall.count { |_, status| !status.success? } }
  else
    MODEL.predict(INPUTS)
    { first: Array.new(5) { fresh("first") }.min_by { |one| one["seconds"] }, batch_megabytes: megabytes,
      threads: fresh("threads"), threads_two_arenas: fresh("threads", { "MALLOC_ARENA_MAX" => "2" }),
      forks: fresh("forks"), installed: }
  end
puts JSON.generate(found)
