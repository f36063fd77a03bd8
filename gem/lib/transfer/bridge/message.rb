# frozen_string_literal: true

module Transfer
  module Bridge
    # The three kinds of MessagePack-RPC messages, with named parameters.
    module Message
      # Expects a response.
      Request = ::Data.define(:id, :name, :params) do
        def to_wire = [0, id, name, params]
      end

      # One of `error` and `result` is nil.
      Response = ::Data.define(:id, :error, :result) do
        def to_wire = [1, id, error, result]
      end

      # Expects no response.
      Notification = ::Data.define(:name, :params) do
        def to_wire = [2, name, params]
      end

      MAX_ID = (2**32) - 1

      class << self
        # @return [Request, Response, Notification]
        # @raise [ProtocolError] for anything else
        def parse(wire)
          case wire
          in [0, id, name, params] then Request.new(id(id), name(name), map(params))
          in [1, id, error, result] then response(id(id), error, result)
          in [2, name, params] then Notification.new(name(name), map(params))
          else raise ProtocolError, "not a message: #{Plain.brief(wire)}"
          end
        end

        private

        def id(value)
          return value if value.is_a?(Integer) && value.between?(0, MAX_ID)

          raise ProtocolError, "the id of a message is #{Plain.brief(value)}, expected an unsigned 32-bit integer"
        end

        def name(value)
          return value if value.is_a?(String) && value.encoding == Encoding::UTF_8 && !value.empty?

          raise ProtocolError, "the method of a message is #{Plain.brief(value)}, expected a name"
        end

        def map(value)
          return value if value.is_a?(Hash)

          raise ProtocolError, "the params of a message are #{Plain.brief(value)}, expected a map"
        end

        def response(id, error, result)
          raise ProtocolError, "a response has an error and a result" unless error.nil? || result.nil?
          unless error.nil? || error?(error)
            raise ProtocolError, "the error of a response is #{Plain.brief(error)}, expected type and message"
          end

          Response.new(id, error, result)
        end

        def error?(value)
          value.is_a?(Hash) && value.values_at("type", "message").all?(String) &&
            [Hash, NilClass].include?(value["details"].class)
        end
      end

      # Converts the error of a response to an exception of this gem.
      module RemoteErrors
        CLASSES = {
          "ConfigurationError" => ConfigurationError, "DataError" => DataError, "WeightsNotFound" => WeightsNotFound,
          "ModelFileError" => ModelFileError, "SignatureError" => SignatureError, "DependencyError" => DependencyError,
          "ProtocolError" => ProtocolError, "Cancelled" => Cancelled,
          "OutOfMemory" => OutOfMemory, "Overloaded" => Overloaded
        }.freeze
        # The worker's class for a wrong call. An argument of a wrong type is the caller's error, and the message begins
        # with the names of method and argument; an unknown method or argument is an error of this gem.
        BAD_CALL = "transfer_core.worker.arguments.BadCall"
        WRONG_ARGUMENT = /\A\w+: (\w+: .*)/m
        private_constant :CLASSES, :BAD_CALL, :WRONG_ARGUMENT

        class << self
          # @param method [String] the called method
          # @param error [Hash] `type`, `message`, `details` and optionally `python_class`, `python_backtrace`
          # @return [Error, ArgumentError] a {ProtocolError} if the error does not match its schema
          def parse(method, error)
            MethodSchemas.check_error(method, error)
            message = Plain.printable(error["message"])
            details = error["details"] || {}
            return recipe_error(message, details) if error["type"] == "RecipeError"
            return CLASSES[error["type"]].new(message, details:) if CLASSES.key?(error["type"])

            wrong = message[WRONG_ARGUMENT, 1] if error["python_class"] == BAD_CALL
            wrong ? ArgumentError.new(wrong) : remote_error(message, details, error)
          rescue ProtocolError => error
            error
          end

          private

          def remote_error(message, details, error)
            python_backtrace = (error["python_backtrace"] || []).map { |line| Plain.printable(line) }
            python_class = error["python_class"]&.then { |name| Plain.printable(name) }
            RemoteError.new(message, details:, python_class:, python_backtrace:)
          end

          def recipe_error(message, details)
            problems = details["problems"] || [{ "path" => "", "message" => message }]
            RecipeError.new(problems.map do |problem|
              RecipeError::Problem.new(*problem.values_at("path", "message").map { |text| Plain.printable(text) })
            end)
          end
        end
      end
    end
  end
end
