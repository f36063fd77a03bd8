# frozen_string_literal: true

module Transfer
  # Base of everything the gem raises at run time. `ArgumentError` is kept for a wrong call of a Ruby method.
  class Error < StandardError
    # @return [Hash] plain data that travels with the message
    attr_reader :details

    def initialize(message = nil, details: {})
      super(message)
      @details = details
    end
  end

  # A setting is wrong, or this machine lacks something: a device, a folder, a variable.
  class ConfigurationError < Error; end

  # The data can't be used as it is; the message names the file and the fix.
  class DataError < Error
    # @return [String, nil] the file with the problem
    def path = details["path"]
  end

  # No copy of the pretrained weights was found; the message lists the places that were searched.
  class WeightsNotFound < Error; end

  # A saved model is truncated, altered, from a newer version, or not a model at all.
  class ModelFileError < Error; end

  # A saved model is not signed by the demanded key, or a key can't be used.
  class SignatureError < ModelFileError; end

  # No Python interpreter with the training core was found; the message lists the places that were searched.
  class PythonNotFound < Error; end

  # A Python package or a library is missing; the message has the command that installs it.
  class DependencyError < Error; end

  # A message of the worker violates the protocol.
  class ProtocolError < Error; end

  # The gem and the worker speak different protocols; the message has the command that updates them.
  class VersionMismatch < Error; end

  # A call took longer than its limit; it was cancelled.
  class TimeoutError < Error; end

  # The call was stopped by `Job#cancel` or by `Transfer.shutdown`.
  class Cancelled < Error
    # @return [String, nil] the id of the training, for {Transfer.resume}
    def run_id = details["run"]
  end

  # A worker has the maximum number of requests for predictions (`Transfer.config.serving_queue_limit`). The request is
  # valid and can be retried a moment later.
  #
  # @example In a job
  #   retry_on Transfer::Overloaded, wait: :polynomially_longer
  class Overloaded < Error
    # @return [Integer] the maximum
    def limit = details["limit"]
  end

  # The machine or its device ran out of memory.
  class OutOfMemory < Error; end

  # The worker's process ended while calls were waiting for it. The next call starts a new one.
  class WorkerCrashed < Error
    # @return [Integer] the process id
    attr_reader :pid
    # @return [Integer, nil] the exit status, nil if a signal ended the process
    attr_reader :exit_status
    # @return [String, nil] the name of the signal that ended the process, such as "SIGKILL"
    attr_reader :signal
    # @return [String] the last 16 KiB that the worker wrote to its standard error, control characters included
    attr_reader :stderr

    # @param note [String] reason and next start, for the message
    def initialize(pid:, exit_status: nil, signal: nil, stderr: "", note: "")
      @pid = pid
      @exit_status = exit_status
      @signal = signal
      @stderr = stderr
      last_words = Plain.printable(stderr).lines.map(&:strip).reject(&:empty?).last
      super([fate, last_words].compact.join(": ") + (note.empty? ? "" : " (#{note})"))
    end

    private

    def fate
      return "the worker (pid #{pid}) was ended by #{signal}" if signal
      return "the worker (pid #{pid}) exited with status #{exit_status}" if exit_status

      "the worker (pid #{pid}) ended"
    end
  end

  # An unexpected exception of Python. Its frames follow the Ruby ones in the backtrace.
  class RemoteError < Error
    # @return [String, nil] the class of the Python exception
    attr_reader :python_class
    # @return [Array<String>] the frames of the Python traceback, innermost last
    attr_reader :python_backtrace

    def initialize(message, python_class: nil, python_backtrace: [], **)
      @python_class = python_class
      @python_backtrace = python_backtrace
      super([python_class, message].compact.join(": "), **)
    end
  end

  # A word or a value in a recipe is wrong. The first line of the message, and the first of the backtrace, name
  # the line of the user's code where the word stands.
  class RecipeError < Error
    # One thing that is wrong: `path` is its place in the recipe (`steps[1].epochs`), `location` its place in
    # the user's code (`Thread::Backtrace::Location`), nil where the recipe did not come from code.
    Problem = ::Data.define(:path, :message, :location) do
      def initialize(path:, message:, location: nil) = super

      # @return [String] such as `photos.rb:12: unknown optimizer "adm", did you mean "adam"?`
      def to_s = [place, statement].compact.join(": ")

      private

      def place
        location && "#{location.path.delete_prefix("#{Dir.pwd}/")}:#{location.lineno}"
      end

      # Most messages name the word themselves ('unknown optimizer "adm"'); the others need a subject.
      def statement
        word = path[/[^.\[\]]+(?=(\[\d+\])?\z)/]
        return message if word.nil?
        return "#{word} #{message}" if message.start_with?("is ")
        return message if message.start_with?("unknown") || message.match?(/\b#{Regexp.escape(word)}\b/)

        "#{word}: #{message}"
      end
    end

    # @return [Array<Problem>] everything that is wrong, in the order of the recipe
    attr_reader :problems

    def initialize(problems)
      @problems = problems.freeze
      super(problems.join("\n"))
      first = problems.first&.location
      set_backtrace([first.to_s, *Backtrace.outside_gem].uniq) if first
    end
  end
end
