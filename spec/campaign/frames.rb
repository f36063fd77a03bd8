# frozen_string_literal: true

class Campaign
  # Invalid bytes.
  module Frames
    private

    # Mutated frames are messages or ProtocolErrors.
    def fuzz(times)
      Fuzz.new(seed: 1).run(times).each do |outcome, number|
        count(outcome.is_a?(Symbol) ? outcome : "unexpected", number)
      end
    end

    # A worker replies with such frames: the call ends, and the next one succeeds.
    def invalid(times)
      fuzz = Fuzz.new(seed: 2)
      worker = worker()
      times.times do
        babble = { "bytes" => Array.new(20) { fuzz.frame }.join }
        result = outcome { worker.call("babble", babble, awaited: true).value(10) || true }
        # One of the frames was a response to the call: the next call receives the others.
        ending { pid_of(worker) } if result == "answered"
        count("lost") unless ending { pid_of(worker) } == "answered"
      end
      worker.stop
    end

    def pid_of(worker) = worker.call("pid", {}, awaited: true).value(20)
  end
end
