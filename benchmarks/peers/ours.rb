# frozen_string_literal: true

# Ours, as a Ruby user runs it. Trains each of the recipes that come as a JSON list in ARGV[0], one after another in
# one process, and prints when what happened (seconds of CLOCK_MONOTONIC) and what came of it.
#
#   ruby -I gem/lib benchmarks/peers/ours.rb '[{"backbone": "mobilenet_v2", "data": "photos/"}]'

require "transfer"
require "json"

def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

trainings = JSON.parse(ARGV.fetch(0), symbolize_names: true).map do |words|
  stages = []
  epochs = []
  embedded = []
  started = now
  model = Transfer.train(quiet: true, **words) do
    on(:stage) { |stage| stages << { step: stage.step, at: now } }
    on(:progress) { |progress| embedded << { done: progress.done, at: now } if progress.step == :freeze }
    on(:epoch) { |epoch| epochs << { step: epoch.step, at: now } }
  end
  { started:, ended: now, stages:, epochs:, embedded: embedded.values_at(0, -1).compact,
    accuracy: model.metrics[:accuracy], sizes: model.summary[:sizes], model: model.path.to_s }
end
Transfer.shutdown
puts JSON.generate(trainings:)
