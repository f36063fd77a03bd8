# frozen_string_literal: true

class Campaign
  # Hostile bytes.
  module Frames
    private

    # Frames that are nearly right: a message or a ProtocolError.
    def fuzz(times)
      Fuzz.new(seed: 1).run(times).each do |outcome, number|
        count(outcome.is_a?(Symbol) ? outcome : "unexpected", number)
      end
    end

    # Workers that answer with such frames: the call ends, and the next one works.
    def liars(times)
      fuzz = Fuzz.new(seed: 2)
      worker = worker()
      times.times do
        babble = { "bytes" => Array.new(20) { fuzz.frame }.join }
        lie = outcome { worker.call("babble", babble, awaited: true).value(10) || true }
        # Among the frames was an answer to the call: the next call meets the others.
        ending { pid_of(worker) } if lie == "answered"
        count("lost") unless ending { pid_of(worker) } == "answered"
      end
      worker.stop
    end

    def pid_of(worker) = worker.call("pid", {}, awaited: true).value(20)
  end
end
