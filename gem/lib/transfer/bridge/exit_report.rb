# frozen_string_literal: true

module Transfer
  module Bridge
    # How a worker that was not stopped has ended, and its conversion to an error.
    #
    # @!attribute [r] oom_kill
    #   @return [Boolean, nil] whether the kernel killed processes for lack of memory meanwhile
    class ExitReport < ::Data.define(:program, :pid, :status, :output, :handshaken, :oom_kill)
      # Messages of C++, glibc, the Python interpreter, OpenBLAS and OpenMP.
      OUT_OF_MEMORY = /std::bad_alloc|Cannot allocate memory|MemoryError|[Oo]ut of memory|
                       [Mm]emory\ allocation\ (still\ )?failed/x
      private_constant :OUT_OF_MEMORY

      # @param note [String] added to the message
      # @return [DependencyError, OutOfMemory, WorkerCrashed]
      def to_error(note = "")
        return DependencyError.new(missing_module) if missing

        crash = WorkerCrashed.new(pid:, exit_status: status&.exitstatus, signal:, stderr: output, note:)
        return crash unless out_of_memory?

        OutOfMemory.new("#{crash.message}. Fix: use a smaller batch_size, or close other programs")
      end

      private

      def missing_module = "#{program} has no module #{missing}. Fix: #{Python.repair_command(program)}"

      def signal = status&.termsig && "SIG#{Signal.signame(status.termsig)}"

      # Only before the handshake; later it is the error of a call.
      def missing = (output[/No module named '?(\w+)/, 1] unless handshaken)

      def out_of_memory?
        (oom_kill && (status.nil? || signal == "SIGKILL")) ||
          (!status&.success? && output.lines.last(5).any?(OUT_OF_MEMORY))
      end
    end
  end
end
