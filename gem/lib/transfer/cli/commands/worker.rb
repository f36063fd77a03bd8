# frozen_string_literal: true

module Transfer
  module CLI
    # The worker that several processes share.
    class Worker < Command
      desc "status", "Show the shared worker"
      long_desc <<~TEXT
        Prints process, memory, models, requests and latency. It starts no worker, but
        keeps a running one from becoming idle.

          transfer worker status
      TEXT
      shared_options :json
      def status
        snapshot = Bridge::SharedWorker.snapshot
        output(snapshot) { snapshot ? Table.render(facts(snapshot)) : "No shared worker" }
      rescue TimeoutError
        raise TimeoutError, "the shared worker does not respond. Fix: transfer worker stop"
      end

      desc "stop", "Stop the shared worker"
      long_desc <<~TEXT
        Kills it if it does not stop by itself. Open calls raise Cancelled; the next
        call starts another worker.

          transfer worker stop
      TEXT
      shared_options :json
      def stop
        pid = Bridge::SharedWorker.stop
        output({ pid: }) { pid ? "Stopped worker #{pid}" : "No shared worker" }
      end

      private

      def facts(snapshot)
        serving = snapshot.fetch(:serving)
        models, batches, latency = serving.values_at(:models, :batches, :seconds)
        [["worker", "process #{snapshot[:pid]}, #{Amounts.size(snapshot[:memory])}"],
         ["models", "#{models[:count]} of #{Amounts.size(models[:bytes])}, at most #{Amounts.size(models[:limit])}"],
         ["requests", "#{serving[:open]} open, #{serving[:refused]} refused"],
         ["batches", "#{batches[:count]}#{format(', of %.1f inputs', batches[:mean]) if batches[:mean]}"],
         ["round trip", Amounts.milliseconds(snapshot[:seconds])],
         *([["latency", percentiles(latency)]] if latency)]
      end

      def percentiles(seconds)
        "p50 #{Amounts.milliseconds(seconds[:p50])}, p99 #{Amounts.milliseconds(seconds[:p99])}"
      end
    end
    private_constant :Worker

    class Root
      desc "worker COMMAND", "Show or stop the worker that processes share"
      long_desc <<~TEXT
        With TRANSFER_SHARED_WORKER=1 all processes of a user predict in one worker. The
        first call starts it; it ends after TRANSFER_IDLE_STOP seconds without a client.
        TRANSFER_SHARED_WORKER, TRANSFER_PYTHON and TRANSFER_HOME select it: they must
        have the values of the processes that use it.
      TEXT
      subcommand "worker", Worker
    end
  end
end
