# frozen_string_literal: true

# Answers a line of standard input with a line of JSON: seconds that calls took, seen from Ruby.
#
#   ping 5000          empty calls
#   predict FILE       one prediction
#
#   ruby -I gem/lib benchmarks/peers/bridge.rb MODEL

require "transfer"
require "json"

module Transfer
  # The empty call has no public name: the bridge stands behind every other one.
  def self.ping = Bridge.call("ping")
end

def seconds
  started = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  yield
  Process.clock_gettime(Process::CLOCK_MONOTONIC) - started
end

$stdout.sync = true
model = Transfer.load(ARGV.fetch(0))
$stdin.each_line(chomp: true) do |line|
  word, argument = line.split(" ", 2)
  took = word == "ping" ? Array.new(Integer(argument)) { seconds { Transfer.ping } } : [seconds { model.predict(argument) }]
  puts JSON.generate(took)
end
