# frozen_string_literal: true

module Transfer
  module Bridge
    # From the error of a response to an exception of this gem.
    module RemoteErrors
      CLASSES = {
        "ConfigurationError" => ConfigurationError, "DataError" => DataError, "WeightsNotFound" => WeightsNotFound,
        "ModelFileError" => ModelFileError, "SignatureError" => SignatureError, "DependencyError" => DependencyError,
        "ProtocolError" => ProtocolError, "Cancelled" => Cancelled,
        "OutOfMemory" => OutOfMemory, "Overloaded" => Overloaded
      }.freeze
      # The called method does not take what it was given. An argument of a wrong kind is the caller's, and the message
      # begins with the names of method and argument; a method or a name that is not there is the gem's.
      BAD_CALL = "transfer_core.worker.arguments.BadCall"
      WRONG_ARGUMENT = /\A\w+: (\w+: .*)/m
      private_constant :CLASSES, :BAD_CALL, :WRONG_ARGUMENT

      # @param method [String] the called one
      # @param error [Hash] `type`, `message`, `details` and perhaps `python_class`, `python_backtrace`
      # @return [Error, ArgumentError] a {ProtocolError} for an error of another shape
      def self.parse(method, error)
        Shapes.check_error(method, error)
        message = Plain.printable(error["message"])
        details = error["details"] || {}
        return recipe_error(message, details) if error["type"] == "RecipeError"

        return CLASSES[error["type"]].new(message, details:) if CLASSES.key?(error["type"])

        wrong = message[WRONG_ARGUMENT, 1] if error["python_class"] == BAD_CALL
        wrong ? ArgumentError.new(wrong) : remote_error(message, details, error)
      rescue ProtocolError => error
        error
      end

      def self.remote_error(message, details, error)
        python_backtrace = (error["python_backtrace"] || []).map { |line| Plain.printable(line) }
        python_class = error["python_class"]&.then { |name| Plain.printable(name) }
        RemoteError.new(message, details:, python_class:, python_backtrace:)
      end

      def self.recipe_error(message, details)
        problems = details["problems"] || [{ "path" => "", "message" => message }]
        RecipeError.new(problems.map do |problem|
          RecipeError::Problem.new(*problem.values_at("path", "message").map { |text| Plain.printable(text) })
        end)
      end
      private_class_method :recipe_error, :remote_error
    end
  end
end
