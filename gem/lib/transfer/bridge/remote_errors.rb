# frozen_string_literal: true

module Transfer
  module Bridge
    # From the error of a response to an exception of this gem.
    module RemoteErrors
      CLASSES = {
        "ConfigurationError" => ConfigurationError, "DataError" => DataError, "WeightsNotFound" => WeightsNotFound,
        "ModelFileError" => ModelFileError, "DependencyError" => DependencyError, "ProtocolError" => ProtocolError,
        "Cancelled" => Cancelled, "OutOfMemory" => OutOfMemory, "Overloaded" => Overloaded
      }.freeze
      private_constant :CLASSES

      # @param error [Hash] `type`, `message`, `details` and perhaps `python_class`, `python_backtrace`
      # @return [Error]
      def self.parse(error)
        message = error["message"]
        details = error["details"] || {}
        return recipe_error(message, details) if error["type"] == "RecipeError"
        return CLASSES[error["type"]].new(message, details:) if CLASSES.key?(error["type"])

        RemoteError.new(message, details:, python_class: error["python_class"],
                                 python_backtrace: error["python_backtrace"] || [])
      end

      def self.recipe_error(message, details)
        problems = details["problems"] || [{ "path" => "", "message" => message }]
        RecipeError.new(problems.map { |problem| RecipeError::Problem.new(problem["path"], problem["message"]) })
      end
      private_class_method :recipe_error
    end
  end
end
