# frozen_string_literal: true

# Answers a line of standard input with a line of JSON: seconds that calls took, seen from Ruby.
#
#   ping 5000          empty calls
#   predict FILE       one prediction
#   crowd 8 FOLDER     a prediction for each photo of a folder, all together, by so many threads
#
#   ruby -I gem/lib benchmarks/peers/bridge.rb MODEL

require "transfer"
require "json"

# The empty call has no public name: it stands behind every other one.
module Transfer
  def self.ping = Bridge.call("ping")
end

def seconds
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  yield
  Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
end

def crowd(model, threads, folder)
  photos = Queue.new(Dir[File.join(folder, "**/*.png")]).close
  threads = Array.new(threads) do
    Thread.new do
      while (photo = photos.pop)
        model.predict(photo)
      end
    end
  end
  threads.each(&:join)
end

$stdout.sync = true
model = Transfer.load(ARGV.fetch(0))
$stdin.each_line(chomp: true) do |line|
  word, argument = line.split(" ", 2)
  took = case word
         when "ping" then Array.new(Integer(argument)) { seconds { Transfer.ping } }
         when "predict" then [seconds { model.predict(argument) }]
         when "crowd"
           threads, folder = argument.split(" ", 2)
           [seconds { crowd(model, Integer(threads), folder) }]
         end
  puts JSON.generate(took)
end
