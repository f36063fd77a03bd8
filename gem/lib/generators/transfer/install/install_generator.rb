# frozen_string_literal: true

require "rails/generators"

module Transfer
  # Generators of Rails.
  module Generators
    # `bin/rails generate transfer:install`
    class InstallGenerator < ::Rails::Generators::Base
      source_root File.expand_path("templates", __dir__)
      desc "Adds the tables, the initializer and the dashboard's route of transfer-rb, and a folder for recipes."

      # Copies the migrations of Active Storage, where they are missing, and of transfer-rb.
      def tables
        rails_command "active_storage:install", inline: true unless migration?("create_active_storage_tables")
        rails_command "transfer:install:migrations", inline: true
      end

      # Writes the initializer.
      def initializer_file
        template "transfer.rb.tt", "config/initializers/transfer.rb"
      end

      # Makes the folder of the recipes.
      def recipes
        create_file "app/recipes/.keep"
      end

      # Mounts the dashboard, which is closed until the application opens it.
      def dashboard
        route %(mount Transfer::Engine, at: "/transfer")
      end

      # Prints the commands that follow.
      def next_steps
        say <<~TEXT

          Next:
            bin/rails db:migrate
            bin/rails transfer:setup      # once per machine: Python and PyTorch
            bin/rails transfer:doctor
            bin/rails generate transfer:model Photo kind
        TEXT
      end

      private

      def migration?(name) = Dir[File.join(destination_root, "db/migrate/*_#{name}*.rb")].any?
    end
  end
end
