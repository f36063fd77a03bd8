# frozen_string_literal: true

require "rails/generators"

module Transfer
  module Generators
    # `bin/rails generate transfer:update`
    class UpdateGenerator < ::Rails::Generators::Base
      desc "Copies the migrations that a newer transfer-rb has."

      # Copies what is missing.
      def migrations
        rails_command "transfer:install:migrations", inline: true
      end
    end
  end
end
