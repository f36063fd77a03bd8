# frozen_string_literal: true

module Transfer
  # The worker that several processes share.
  class CLI
    WORKER_ACTIONS = %w[show stop].freeze
    private_constant :WORKER_ACTIONS

    desc "worker [ACTION]", "The worker that processes share: look, stop"
    long_desc <<~TEXT, wrap: false
      With TRANSFER_SHARED_WORKER=1 all processes of a user predict in one worker.
      Who first needs it starts it, and it ends when nobody has been there for
      TRANSFER_IDLE_STOP seconds. A look starts none, but counts as a visit.

        transfer worker           pid, memory, models, requests, how long they take
        transfer worker --json    the same, for programs
        transfer worker stop      end it, by force if it does not go by itself. Open
                                  calls end with Cancelled, the next starts another

      Which one it is depends on folder, Python and home: TRANSFER_SHARED_WORKER,
      TRANSFER_PYTHON and TRANSFER_HOME must be what they are for those who use it.
    TEXT
    json_option
    # Looks after the shared worker.
    def worker(action = "show")
      raise Thor::Error, Suggestion.unknown("action", action, WORKER_ACTIONS) unless WORKER_ACTIONS.include?(action)

      send(:"#{action}_worker")
    end

    private

    def show_worker
      seen = Bridge::SharedWorker.snapshot
      answer(seen) { puts seen ? Table.render(worker_rows(seen)) : "No worker is shared." }
    rescue TimeoutError
      raise TimeoutError, "the shared worker does not answer; transfer worker stop ends it"
    end

    def stop_worker
      pid = Bridge::SharedWorker.stop
      answer({ pid: }) { puts pid ? "Worker #{pid} has ended." : "No worker is shared." }
    end

    def worker_rows(seen)
      serving = seen.fetch(:serving)
      models, batches = serving.values_at(:models, :batches)
      [["worker", "process #{seen[:pid]}, #{Amounts.size(seen[:memory])}"],
       ["models", "#{models[:count]} of #{Amounts.size(models[:bytes])}, at most #{Amounts.size(models[:limit])}"],
       ["requests", "#{serving[:open]} in hand, #{serving[:refused]} refused"],
       ["passes", "#{batches[:count]}#{format(', of %.1f inputs', batches[:mean]) if batches[:mean]}"],
       ["an empty call", Amounts.milliseconds(seen[:seconds])],
       *serving[:seconds]&.then { |seconds| [["an answer", answer_times(seconds)]] }]
    end

    def answer_times(seconds)
      "half within #{Amounts.milliseconds(seconds[:p50])}, 99 % within #{Amounts.milliseconds(seconds[:p99])}"
    end
  end
end
