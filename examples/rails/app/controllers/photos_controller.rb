# frozen_string_literal: true

# Upload and list.
class PhotosController < ActionController::Base
  def index
    @photos = Photo.with_attached_file.includes(:kind_prediction).order(id: :desc).limit(50)
  end

  def create
    photo = Photo.new(params.require(:photo).permit(:file))
    photo.save ? redirect_to(photos_path) : redirect_to(photos_path, alert: photo.errors.full_messages.to_sentence)
  end
end
