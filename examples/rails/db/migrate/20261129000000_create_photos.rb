# frozen_string_literal: true

# The photos; their files are attachments.
class CreatePhotos < ActiveRecord::Migration[7.2]
  def change
    create_table :photos do |t|
      t.string :species
      t.timestamps
    end
  end
end
