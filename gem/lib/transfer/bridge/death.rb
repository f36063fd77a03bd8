# frozen_string_literal: true

module Transfer
  module Bridge
    # How a worker that nobody stopped came to its end, as an error.
    #
    # @param kills [Boolean] the kernel ended processes for want of memory meanwhile
    class Death < ::Data.define(:program, :pid, :status, :stderr, :greeted, :kills)
      # The last words of C++, glibc, the Python interpreter, OpenBLAS and OpenMP.
      OUT_OF_MEMORY = /std::bad_alloc|Cannot allocate memory|MemoryError|[Oo]ut of memory|
                       [Mm]emory\ allocation\ (still\ )?failed/x

      # @param note [String] what to add about the reason and the next start
      # @return [DependencyError, OutOfMemory, WorkerCrashed]
      def to_error(note = "")
        return DependencyError.new("#{program} has no module #{missing}: run `transfer setup`") if missing

        crash = WorkerCrashed.new(pid:, exit_status: status&.exitstatus, signal:, stderr:, note:)
        return crash unless out_of_memory?

        OutOfMemory.new("#{crash.message}: use a smaller batch_size, or close other programs")
      end

      def signal = status&.termsig && "SIG#{Signal.signame(status.termsig)}"

      private

      # Before the handshake; later it is an error of a call.
      def missing = (stderr[/No module named '?(\w+)/, 1] unless greeted)

      def out_of_memory?
        (kills && (status.nil? || signal == "SIGKILL")) ||
          (!status&.success? && stderr.lines.last(5).any?(OUT_OF_MEMORY))
      end
    end
  end
end
